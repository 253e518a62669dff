use std::sync::Arc;
use std::time::Duration;

use roomz_sql::db::connect::connect;
use roomz_sql::db::settings::{Settings, permitted};
use roomz_sql::{ConnectError, Database};
use roomz_webhook::Delivery;
use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::store::ClaimKey;
use tokio::sync::Notify;
use tower_service::Service;

use crate::admission::{Admission, Enqueued};
use crate::endpoint::Endpoint;
use crate::entry::{InboxEntry, InboxState, InboxStats};
use crate::error::{BoxError, InboxError};
use crate::events::Events;
use crate::job::Job;
use crate::queue::Queue;
use crate::queue::statements::TEST;
use crate::worker::WorkerBuilder;

/// A durable queue of webhook events in PostgreSQL or SQLite.
///
/// Create one with [`connect`](Self::connect). Put its [`endpoint`](Self::endpoint) behind the webhook layer,
/// and run the events with a [`worker`](Self::worker), in this process or in others. A clone shares the
/// connections, which belong to the tokio runtime that called `connect`.
#[derive(Clone, derive_more::Debug)]
#[debug("Inbox {{ retention: {:?}, .. }}", events.retention)]
pub struct Inbox {
    events: Events,
    admission: Admission,
}

/// Builds an [`Inbox`]. Every setting has a default.
///
/// ```no_run
/// use std::time::Duration;
/// use roomz_inbox::Inbox;
///
/// # async fn connect() -> Result<(), roomz_inbox::ConnectError> {
/// let inbox = Inbox::builder("postgres://user:password@localhost/floors")
///     .with_retention(Duration::from_secs(14 * 24 * 60 * 60))
///     .connect()
///     .await?;
/// # drop(inbox);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "call `connect` to get the inbox"]
pub struct InboxBuilder {
    database: Database,
    settings: Settings,
    max_open: u64,
    retention: Duration,
}

impl Inbox {
    /// Connects to a database with the default settings: a URL, a `sqlx::PgPool`, or a `sqlx::SqlitePool`
    /// (see [`Database`]).
    ///
    /// ```no_run
    /// use roomz_inbox::Inbox;
    ///
    /// # async fn connect() -> Result<(), roomz_inbox::ConnectError> {
    /// let inbox = Inbox::connect("sqlite:///var/lib/floors/inbox.db").await?;
    /// # drop(inbox);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`InboxBuilder::connect`].
    pub async fn connect(database: impl Into<Database>) -> Result<Self, ConnectError> {
        Self::builder(database).connect().await
    }

    /// Creates a builder with the default settings.
    ///
    /// ```
    /// let builder = roomz_inbox::Inbox::builder("sqlite:inbox.db").with_max_open(10_000);
    /// # drop(builder);
    /// ```
    pub fn builder(database: impl Into<Database>) -> InboxBuilder {
        let defaults = Settings::new(roomz_sql::tests);
        InboxBuilder {
            database: database.into(),
            settings: Settings { handler_connections: 11, test_script: TEST, ..defaults },
            max_open: 1_000_000,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }

    /// Returns the service to put behind the webhook layer: it answers as soon as the event is durable.
    ///
    /// | answer | |
    /// |---|---|
    /// | 202 | The event is in the inbox. |
    /// | 200 with `roomz-webhook-skipped: duplicate` | The inbox has the event, or had it within its retention. |
    /// | 503 with `Retry-After: 5` | The database failed, or the inbox is full. The event is not stored. |
    /// | 500 | The layer is missing in front of it. |
    ///
    /// ```no_run
    /// use axum::Router;
    /// use axum::routing::post_service;
    /// use roomz_inbox::Inbox;
    /// use roomz_webhook::WebhookLayer;
    ///
    /// fn app(webhook: WebhookLayer, inbox: &Inbox) -> Router {
    ///     Router::new().route("/webhooks/roomz", post_service(inbox.endpoint()).layer(webhook))
    /// }
    /// ```
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint(self.admission.clone())
    }

    /// Adds the event of a delivery, and returns once it is durable.
    ///
    /// [`endpoint`](Self::endpoint) does this, and stores the [trace context](crate#tracing) of the request,
    /// which this does not. Call it yourself in a handler that does more.
    ///
    /// ```no_run
    /// # async fn handle(inbox: &roomz_inbox::Inbox, delivery: &roomz_webhook::Delivery) {
    /// match inbox.enqueue(delivery).await {
    ///     Ok(_) => println!("answer 202"),
    ///     Err(error) => println!("answer 503: {error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the inbox is full or its database fails. Do not acknowledge the delivery then.
    pub async fn enqueue(&self, delivery: &Delivery) -> Result<Enqueued, InboxError> {
        self.admission.enqueue(delivery.claim_key(), delivery.body(), None).await
    }

    /// Creates a worker that runs each event with this service: a `tower::Service`, or an `async fn` in
    /// `tower::service_fn`.
    ///
    /// `Job<WorkspacePresenceChanged>` receives events of that type only. An attempt of another event fails,
    /// because another worker may handle it. `Job<EventData>` receives all events.
    ///
    /// ```no_run
    /// use roomz_inbox::{BoxError, Inbox, Job, WorkspacePresenceChanged};
    /// use tower::service_fn;
    ///
    /// async fn handle(job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    ///     println!("{} {}", job.event().data.workspace_id, job.event().data.presence_status);
    ///     Ok(())
    /// }
    ///
    /// # fn start(inbox: &Inbox) {
    /// let worker = inbox.worker(service_fn(handle)).with_concurrency(4).start();
    /// # drop(worker);
    /// # }
    /// ```
    pub fn worker<S, T>(&self, service: S) -> WorkerBuilder<S, T>
    where
        S: Service<Job<T>, Response = ()> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        WorkerBuilder::new(self.events.clone(), service)
    }

    /// Returns up to `limit` events in this state. Dead letters: the oldest first. Others: those that are due
    /// first.
    ///
    /// ```no_run
    /// # async fn list(inbox: &roomz_inbox::Inbox) -> Result<(), roomz_inbox::InboxError> {
    /// for dead in inbox.list(roomz_inbox::InboxState::Dead, 100).await? {
    ///     println!("{} {}", dead.key.id(), dead.error.unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn list(&self, state: InboxState, limit: u32) -> Result<Vec<InboxEntry>, InboxError> {
        Ok(self.events.queue.list(None, state.number(), limit).await?)
    }

    /// Returns up to `limit` events of a namespace in this state, in the order of [`list`](Self::list).
    ///
    /// ```no_run
    /// # use roomz_inbox::{Inbox, InboxError, InboxState};
    /// # async fn retry(inbox: &Inbox) -> Result<(), InboxError> {
    /// for dead in inbox.list_namespace("staging", InboxState::Dead, 100).await? {
    ///     inbox.retry(&dead.key).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn list_namespace(
        &self,
        namespace: &str,
        state: InboxState,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, InboxError> {
        Ok(self.events.queue.list(Some(namespace), state.number(), limit).await?)
    }

    /// Returns an event, or `None` if the inbox does not have it.
    ///
    /// ```no_run
    /// use roomz_inbox::{Inbox, InboxError};
    /// use roomz_webhook::store::ClaimKey;
    ///
    /// # async fn show(inbox: &Inbox, id: roomz_inbox::EventId) -> Result<(), InboxError> {
    /// // The namespace of a layer without `with_namespace`.
    /// if let Some(entry) = inbox.get(&ClaimKey::new("roomz".into(), id)).await? {
    ///     println!("{:?}, {} attempts", entry.state, entry.attempts);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn get(&self, key: &ClaimKey) -> Result<Option<InboxEntry>, InboxError> {
        Ok(self.events.queue.get(key).await?)
    }

    /// Makes a dead letter available again, with all its attempts. Returns false if there is no such dead
    /// letter.
    ///
    /// The worker's [maximum age](WorkerBuilder::with_max_age) does not apply to it any more.
    ///
    /// ```no_run
    /// # async fn retry(inbox: &roomz_inbox::Inbox, dead: roomz_inbox::InboxEntry) -> Result<(), roomz_inbox::InboxError> {
    /// if !inbox.retry(&dead.key).await? {
    ///     println!("another process retried or discarded it");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn retry(&self, key: &ClaimKey) -> Result<bool, InboxError> {
        let retried = self.events.queue.retry(key).await?;
        self.events.arrived.notify_one();
        Ok(retried)
    }

    /// Discards a dead letter. Its id is still known as a duplicate for the retention. Returns false if there
    /// is no such dead letter.
    ///
    /// ```no_run
    /// # async fn discard(inbox: &roomz_inbox::Inbox, dead: roomz_inbox::InboxEntry) -> Result<(), roomz_inbox::InboxError> {
    /// if inbox.discard(&dead.key).await? {
    ///     println!("{} is discarded", dead.key.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn discard(&self, key: &ClaimKey) -> Result<bool, InboxError> {
        Ok(self.events.queue.discard(key, self.events.retention).await?)
    }

    /// Counts the events that are not done.
    ///
    /// While a session of PostgreSQL has an old snapshot, this may take longer than the
    /// [timeout](InboxBuilder::with_response_timeout); see [the limits](crate#limits).
    ///
    /// ```no_run
    /// # async fn check(inbox: &roomz_inbox::Inbox) -> Result<(), roomz_inbox::InboxError> {
    /// let stats = inbox.stats().await?;
    /// println!("{} waiting, {} dead letters, oldest {:?}", stats.waiting, stats.dead, stats.oldest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn stats(&self) -> Result<InboxStats, InboxError> {
        let queue = &self.events.queue;
        Ok(InboxStats { dead: queue.dead().await?, ..queue.open().await? })
    }

    /// Counts the events that are not done, for each namespace that has any. Reads all of their rows.
    ///
    /// ```no_run
    /// # async fn check(inbox: &roomz_inbox::Inbox) -> Result<(), roomz_inbox::InboxError> {
    /// for (namespace, stats) in inbox.stats_by_namespace().await? {
    ///     println!("{namespace}: {} dead letters", stats.dead);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InboxError`] if the database fails.
    pub async fn stats_by_namespace(&self) -> Result<Vec<(String, InboxStats)>, InboxError> {
        Ok(self.events.queue.stats_by_namespace().await?)
    }
}

impl InboxBuilder {
    /// Sets whether `connect` creates missing tables. Default: `true`. The scripts are
    /// [`POSTGRES_MIGRATIONS`](roomz_sql::POSTGRES_MIGRATIONS) and
    /// [`SQLITE_MIGRATIONS`](roomz_sql::SQLITE_MIGRATIONS). A user who may not create tables needs [some
    /// permissions](roomz_sql#a-user-with-few-permissions).
    pub const fn with_migrations(mut self, migrate: bool) -> Self {
        self.settings.migrations = migrate;
        self
    }

    /// Sets the maximum number of connections to PostgreSQL. Default: 13. Fewer than 3 count as 3.
    ///
    /// Two of them are for the statements of the inbox. The others are for handlers: each running handler
    /// that writes into its transaction has one. Set at least two more than the worker's concurrency. No
    /// effect on SQLite, which has one writer.
    pub fn with_max_connections(mut self, connections: u32) -> Self {
        self.settings.handler_connections =
            connections.saturating_sub(self.settings.worker_connections).max(1);
        self
    }

    /// Sets the timeout for each step of connecting, from 1 ms to 1 h. Default: 2 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = permitted(timeout);
        self
    }

    /// Sets the timeout for the reply to a statement, at most 1 h. Default: 1.5 s.
    ///
    /// Raise it in a program that lists or counts millions of events and receives none.
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.settings.response_timeout = permitted(timeout);
        self
    }

    /// Sets how many events may wait or run. Default: 1 000 000. Above it, deliveries get a 503.
    ///
    /// A task counts them about once per second, and when they may have reached the limit, so a burst can
    /// exceed it. Dead letters do not count. If the count fails, events are accepted.
    pub const fn with_max_open(mut self, events: u64) -> Self {
        self.max_open = events;
        self
    }

    /// Sets how long a finished event is kept, with its body, and its id known as a duplicate. Default: 7
    /// days.
    pub const fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Connects, creates missing tables, and checks them.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] for the same reasons as
    /// [`SqlStoreBuilder::connect`](roomz_sql::SqlStoreBuilder::connect): for example an invalid URL, a
    /// server that cannot be reached, a file that cannot be opened, a read-only or too old database, or
    /// missing tables.
    pub async fn connect(self) -> Result<Inbox, ConnectError> {
        let Self { database, settings, max_open, retention } = self;
        let (workers, pool) = connect(database, &settings).await?;
        #[cfg(feature = "metrics")]
        crate::telemetry::series::register();
        let events = Events { queue: Queue::new(workers, pool), retention, arrived: Arc::new(Notify::new()) };
        let admission = Admission::new(events.clone(), max_open).await;
        Ok(Inbox { events, admission })
    }
}
