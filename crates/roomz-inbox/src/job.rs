use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use roomz_sql::db::dialect::Dialect;
use roomz_sql::db::pool::{Pool, Transaction};
use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::{Event, EventData, Timestamp};
use tokio::sync::oneshot;

use crate::error::{InboxError, InboxErrorKind};
use crate::queue::row::TakenEvent;

/// One attempt to handle an event: the event, and the transaction to write into.
///
/// When the handler returns `Ok`, the worker completes the event in that transaction and commits it. So the
/// effect and the completion are one commit: both happen or neither. When the handler returns an error, the
/// worker rolls back.
///
/// ```no_run
/// use roomz_inbox::{BoxError, Job, WorkspacePresenceChanged};
///
/// # #[cfg(feature = "sqlite")]
/// async fn handle(mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
///     let (id, workspace) = (job.event().id.to_string(), job.event().data.workspace_id.to_string());
///     sqlx::query("INSERT INTO visits (event_id, workspace_id) VALUES ($1, $2)")
///         .bind(id)
///         .bind(workspace)
///         .execute(job.sqlite().await?)
///         .await?;
///     Ok(())
/// }
/// ```
///
/// The transaction begins with the first call of [`postgres`](Self::postgres) or [`sqlite`](Self::sqlite).
/// Call slow services before: on SQLite, everything else that writes waits for an open transaction.
///
/// Behind PgBouncer in transaction mode, add `persistent(false)` to each of your queries: see
/// [the crate documentation](crate#postgresql-behind-a-pooler).
///
/// What the handler does elsewhere, for example a request to another service, is at least once: pass the
/// event's id on, so that the other side can detect repetitions.
pub struct Job<T: Payload = EventData> {
    pub(crate) event: Event<T>,
    pub(crate) taken: Arc<TakenEvent>,
    /// None in a job for a test.
    pub(crate) pool: Option<Pool>,
    pub(crate) transaction: Option<Box<dyn Transaction>>,
    /// Gets the transaction when the job is dropped.
    pub(crate) worker: Option<oneshot::Sender<ReturnedTransaction>>,
}

/// The transaction of a job, after its handler. `None` if it did not use one.
pub(crate) type ReturnedTransaction = Option<Box<dyn Transaction>>;

impl<T: Payload> Job<T> {
    /// Creates a job for a unit test of a handler, without a database: attempt 1, received now.
    ///
    /// [`postgres`](Self::postgres) and [`sqlite`](Self::sqlite) fail with
    /// [`NoDatabase`](crate::InboxErrorKind::NoDatabase): test what the handler does before them, and how it
    /// reports the failure.
    ///
    /// ```
    /// use roomz_inbox::{BoxError, Event, Job, WorkspacePresenceChanged};
    /// use roomz_webhook::testing::TestEvent;
    ///
    /// async fn handle(job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    ///     if job.event().data.presence_status.to_string() == "Offline" {
    ///         return Err("the sensor is offline".into());
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// let job = |event: TestEvent| Job::for_test(Event::parse(&event.body()).unwrap().typed().unwrap());
    /// assert!(handle(job(TestEvent::busy())).await.is_ok());
    /// assert!(handle(job(TestEvent::presence("Offline"))).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn for_test(event: Event<T>) -> Self {
        let taken = TakenEvent {
            key: roomz_webhook::store::ClaimKey::new("roomz".into(), event.id),
            attempt: 1,
            uncounted_attempts: 0,
            received: Timestamp::now(),
            age: std::time::Duration::ZERO,
            body: Bytes::new(),
            last_error: None,
            traceparent: None,
        };
        Self { event, taken: Arc::new(taken), pool: None, transaction: None, worker: None }
    }

    /// Returns the event.
    #[must_use]
    pub const fn event(&self) -> &Event<T> {
        &self.event
    }

    /// Returns the signed bytes: the event as JSON, including the fields that [`Event`] ignores.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.taken.body
    }

    /// Returns the number of this attempt, counted from 1.
    ///
    /// Above 1, an earlier attempt failed or its process died. What it did outside of the transaction may
    /// have taken effect.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.taken.attempt
    }

    /// Returns the namespace of the event: that of the [`Tenant`](roomz_webhook::Tenant), or else of the
    /// layer.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.taken.key.namespace()
    }

    /// Returns when the event arrived, by the database's clock.
    #[must_use]
    pub fn received(&self) -> Timestamp {
        self.taken.received
    }

    /// Returns the W3C trace context of the request that delivered the event: the value of its header
    /// `traceparent`. See [tracing](crate#tracing).
    ///
    /// ```
    /// use roomz_inbox::{BoxError, Job};
    ///
    /// async fn handle(job: Job) -> Result<(), BoxError> {
    ///     // Such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    ///     println!("the parent of this span is {}", job.traceparent().unwrap_or("none"));
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.taken.traceparent.as_deref()
    }

    /// Returns the connection of this attempt's transaction on PostgreSQL. The first call begins the
    /// transaction, and waits up to 30 s for a connection.
    ///
    /// Do not end the transaction with SQL: the attempt then fails, but what you write after it stays.
    /// `begin` of sqlx creates a savepoint. If you drop its future before it returns, for example after a
    /// timeout, sqlx rolls back the whole transaction: this method and the attempt then fail.
    ///
    /// # Errors
    ///
    /// [`OtherDatabase`](crate::InboxErrorKind::OtherDatabase) if the inbox is in SQLite.
    /// [`Unavailable`](crate::InboxErrorKind::Unavailable) if the transaction cannot begin, or has ended.
    #[cfg(feature = "postgres")]
    pub async fn postgres(&mut self) -> Result<&mut sqlx::PgConnection, InboxError> {
        self.connection().await
    }

    /// Returns the connection of this attempt's transaction on SQLite. The first call begins the transaction,
    /// and waits up to 30 s for the transactions of other handlers.
    ///
    /// Do not end the transaction with SQL. `begin` of sqlx creates a savepoint in it. SQLite ends the
    /// transaction itself after some errors, for example with `INSERT OR ROLLBACK` or a full disk. Then the
    /// attempt fails, and what you write after it fails, too: until the worker commits, a commit hook rejects
    /// every commit. Set no commit hook of your own.
    ///
    /// # Errors
    ///
    /// [`OtherDatabase`](crate::InboxErrorKind::OtherDatabase) if the inbox is in PostgreSQL.
    /// [`Unavailable`](crate::InboxErrorKind::Unavailable) if the transaction cannot begin, or has ended.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(&mut self) -> Result<&mut sqlx::SqliteConnection, InboxError> {
        self.connection().await
    }

    /// Returns true if the inbox is in PostgreSQL, for handlers that support both databases.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.pool.as_ref().map_or(cfg!(feature = "postgres"), |pool| pool.dialect == Dialect::Postgres)
    }

    async fn connection<C: 'static>(&mut self) -> Result<&mut C, InboxError> {
        let transaction = match &mut self.transaction {
            Some(transaction) => transaction,
            none => {
                let pool = self.pool.as_ref().ok_or(InboxError::new(InboxErrorKind::NoDatabase))?;
                none.insert(pool.begin().await?)
            }
        };
        transaction.connection()?.downcast_mut().ok_or(InboxError::new(InboxErrorKind::OtherDatabase))
    }
}

/// Returns the transaction to the worker.
impl<T: Payload> Drop for Job<T> {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            // A worker that does not wait any more drops the transaction, which rolls it back.
            let _ = worker.send(self.transaction.take());
        }
    }
}

impl<T: Payload + fmt::Debug> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("event", &self.event)
            .field("body", &format_args!("[{} bytes]", self.taken.body.len()))
            .field("attempt", &self.taken.attempt)
            .field("received", &self.taken.received)
            .finish_non_exhaustive()
    }
}
