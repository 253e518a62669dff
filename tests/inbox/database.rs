//! The databases of the inboxes, and what the test reads from them itself.

use std::time::Duration;

use roomz_protocol::{EventId, Uuid};
use roomz_tests::Server;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
};
use tempfile::TempDir;

/// The table of the handlers. It has no constraint, so that a second effect of an event would be a second
/// row.
const CREATE_TABLE: &str = "CREATE TABLE presence_log (event_id TEXT NOT NULL, attempt BIGINT NOT NULL, \
     process BIGINT NOT NULL, handled_at BIGINT NOT NULL)";

/// Longer than a process that runs holds the write lock of an SQLite file.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// A database that several processes use.
pub(crate) trait Database: Sized + Send {
    /// The name in the report.
    const NAME: &'static str;

    /// Starts a server, or creates a directory. Reports a skipped test if the server is not installed.
    fn start() -> Option<Self>;

    /// The URL of the inbox.
    fn url(&self) -> String;
}

/// A PostgreSQL server with default settings.
pub(crate) struct Postgres(pub(crate) Server);

/// An SQLite file.
pub(crate) struct Sqlite(TempDir);

impl Database for Postgres {
    const NAME: &'static str = "postgres";

    fn start() -> Option<Self> {
        Some(Self(Server::postgres_or_skip(&["fsync=on"])?))
    }

    fn url(&self) -> String {
        self.0.postgres_url()
    }
}

impl Database for Sqlite {
    const NAME: &'static str = "sqlite";

    fn start() -> Option<Self> {
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn url(&self) -> String {
        format!("sqlite://{}/inbox.db", self.0.path().display())
    }
}

/// A row that a handler inserted and the worker committed.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) attempt: u32,
    pub(crate) process: u32,
}

/// An event in the table of the inbox.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) state: State,
    /// The number of times that it was taken.
    pub(crate) attempts: u32,
    pub(crate) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Done,
    Dead,
}

macro_rules! on_connection {
    ($url:expr, $connection:ident => $run:expr) => {
        if $url.starts_with("sqlite") {
            let mut $connection = SqliteConnection::connect($url).await.unwrap();
            let result = $run;
            $connection.close().await.unwrap();
            result
        } else {
            let mut $connection = PgConnection::connect($url).await.unwrap();
            let result = $run;
            $connection.close().await.unwrap();
            result
        }
    };
}

/// Executes a statement.
pub(crate) async fn execute(url: &str, sql: &str) {
    on_connection!(url, connection => {
        let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    });
}

pub(crate) async fn create_table(url: &str) {
    // The processes create the file, but the table must exist before them.
    let url = if url.starts_with("sqlite") { format!("{url}?mode=rwc") } else { url.to_owned() };
    execute(&url, CREATE_TABLE).await;
}

/// Whether another process holds the write lock of an SQLite file.
pub(crate) async fn is_locked(url: &str) -> bool {
    if !url.starts_with("sqlite") {
        return false;
    }
    let options = url.parse::<SqliteConnectOptions>().unwrap().busy_timeout(LOCK_TIMEOUT);
    let mut connection = options.connect().await.unwrap();
    let begun = connection.execute("BEGIN IMMEDIATE").await;
    connection.close().await.unwrap();
    begun.is_err()
}

/// The number of events that wait or run.
pub(crate) async fn count_open(url: &str) -> i64 {
    on_connection!(url, connection => {
        sqlx::query_scalar("SELECT count(*) FROM roomz_inbox WHERE state < 2").fetch_one(&mut connection).await.unwrap()
    })
}

/// The rows of the handlers, with the ids of their events.
pub(crate) async fn rows(url: &str) -> Vec<(String, Row)> {
    let rows: Vec<(String, i64, i64)> = on_connection!(url, connection => {
        sqlx::query_as("SELECT event_id, attempt, process FROM presence_log").fetch_all(&mut connection).await.unwrap()
    });
    rows.into_iter()
        .map(|(id, attempt, process)| {
            (id, Row { attempt: attempt.try_into().unwrap(), process: process.try_into().unwrap() })
        })
        .collect()
}

/// The events in the inbox, by id.
pub(crate) async fn entries(url: &str) -> Vec<(String, Entry)> {
    const SQL: &str = "SELECT event_id, CAST(state AS BIGINT), attempt, error FROM roomz_inbox";
    let rows: Vec<(Vec<u8>, i64, i64, Option<String>)> = on_connection!(url, connection => {
        sqlx::query_as(SQL).fetch_all(&mut connection).await.unwrap()
    });
    rows.into_iter()
        .map(|(id, state, attempts, error)| {
            let state = match state {
                2 => State::Done,
                3 => State::Dead,
                _ => State::Open,
            };
            let id = EventId::from(Uuid::from_slice(&id).unwrap());
            (id.to_string(), Entry { state, attempts: attempts.try_into().unwrap(), error })
        })
        .collect()
}
