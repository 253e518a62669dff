//! Databases with an inbox, and events in it.

use std::time::Duration;

use axum::body::Body;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use roomz_inbox::{BoxError, EventId, Inbox, InboxState, Job};
use roomz_webhook::Event;
use roomz_webhook::store::ClaimKey;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::{SECRET, TestDir};

/// The namespace of a layer without `with_namespace`.
pub(crate) const NAMESPACE: &str = "roomz";

/// A database of its own. It has no tables at first.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _directory: Option<TestDir>,
}

impl TestDatabase {
    /// A file that does not exist.
    pub(crate) fn sqlite() -> Self {
        let directory = TestDir::new();
        Self {
            url: format!("sqlite://{}", directory.path("inbox.db").display()),
            _directory: Some(directory),
        }
    }

    /// A new database on the server of the tests.
    pub(crate) async fn postgres() -> Option<Self> {
        let url = roomz_tests::postgres_url_or_skip()?;
        let name = format!("cli_{}", id_of(&TestEvent::busy()).as_uuid().simple());
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .unwrap();
        Some(Self { url: format!("{}/{name}", url.rsplit_once('/').unwrap().0), _directory: None })
    }

    /// SQLite, and PostgreSQL if it is installed.
    pub(crate) async fn all() -> impl Iterator<Item = Self> {
        [Some(Self::sqlite()), Self::postgres().await].into_iter().flatten()
    }

    pub(crate) async fn inbox(&self) -> Inbox {
        Inbox::connect(&self.url).await.unwrap()
    }

    /// The number of tables.
    pub(crate) async fn tables(&self) -> i64 {
        if self.url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
            sqlx::query_scalar(tables).fetch_one(&mut connection).await.unwrap()
        }
    }
}

pub(crate) fn id_of(event: &TestEvent) -> EventId {
    Event::parse(&event.body()).unwrap().id
}

/// Delivers an event to a receiver with this inbox.
pub(crate) async fn deliver(inbox: &Inbox, event: &TestEvent, namespace: &str) -> EventId {
    let secret = Secret::new(SECRET).unwrap();
    let layer = WebhookLayer::builder(secret.clone()).with_namespace(namespace).build().unwrap();
    let response =
        layer.layer(inbox.endpoint()).oneshot(event.request::<Body>("/hook", &secret)).await.unwrap();
    assert_eq!(response.status(), 202);
    id_of(event)
}

/// Runs the waiting events with a handler that fails, until they are dead letters.
pub(crate) async fn fail_all(inbox: &Inbox, error: &'static str) {
    let waiting = inbox.stats().await.unwrap().waiting;
    let dead = inbox.stats().await.unwrap().dead + waiting;
    let worker = inbox
        .worker(service_fn(move |_: Job| async move { Err::<(), BoxError>(error.into()) }))
        .with_max_attempts(1)
        .start();
    let start = std::time::Instant::now();
    while inbox.stats().await.unwrap().dead < dead {
        assert!(start.elapsed() < Duration::from_secs(30), "the events do not become dead letters");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.shutdown(Duration::from_secs(30)).await;
}

/// The state of an event.
pub(crate) async fn state(inbox: &Inbox, id: EventId, namespace: &str) -> InboxState {
    inbox.get(&ClaimKey::new(namespace.into(), id)).await.unwrap().unwrap().state
}
