#![allow(dead_code, reason = "each test binary uses a part")]

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use roomz_inbox::{Endpoint, Inbox};
use roomz_tests::{postgres_url_or_skip, secret};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Webhook, WebhookLayer};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tower::ServiceExt as _;

/// A database of its own.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _directory: Option<tempfile::TempDir>,
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/inbox.db", directory.path().display());
        Self { url, _directory: Some(directory) }
    }

    /// A new database on the server that all tests of this process share.
    pub(crate) async fn postgres() -> Option<Self> {
        let url = postgres_url_or_skip()?;
        let name = format!("inbox_{:032x}", rand::random::<u128>());
        let mut connection = PgConnection::connect(&url).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        Some(Self { url: format!("{}/{name}", url.rsplit_once('/').unwrap().0), _directory: None })
    }

    /// Executes a statement outside of the inbox.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if self.url.starts_with("sqlite") {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Returns the number that a query returns.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        if self.url.starts_with("sqlite") {
            let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
        }
    }
}

/// The endpoint of an inbox behind a layer with a new store in memory, as after a restart.
pub(crate) fn receiver(inbox: &Inbox) -> Webhook<Endpoint> {
    tower::Layer::layer(&WebhookLayer::builder(secret()).build().unwrap(), inbox.endpoint())
}

/// Delivers an event to a new receiver.
pub(crate) async fn deliver(inbox: &Inbox, event: &TestEvent) -> StatusCode {
    deliver_to(receiver(inbox), event).await
}

pub(crate) async fn deliver_to(receiver: Webhook<Endpoint>, event: &TestEvent) -> StatusCode {
    let request: Request<Full<Bytes>> =
        event.request::<Vec<u8>>("/", &secret()).map(|body| Full::new(body.into()));
    let response: Response<_> = receiver.oneshot(request).await.unwrap();
    response.status()
}
