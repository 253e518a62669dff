//! The bare insert: the same row into a table with the same indexes. Each row is a transaction that waits for
//! the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomz_protocol::testing::TestEvent;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, SqliteConnection,
};
use tokio::sync::Mutex;

use super::load::closed_loop;

const POSTGRES: &str = "INSERT INTO bare_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
     SELECT 'default', $1, 0, now, now, $1, 0, 0, $2 \
     FROM (SELECT CAST(extract(epoch FROM statement_timestamp()) * 1000 AS BIGINT) AS now) AS clock \
     ON CONFLICT (namespace, event_id) DO NOTHING";
const SQLITE: &str = "INSERT INTO bare_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
     SELECT 'default', $1, 0, now, now, $1, 0, 0, $2 \
     FROM (SELECT CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER) AS now) \
     WHERE TRUE ON CONFLICT (namespace, event_id) DO NOTHING";

/// Connections that insert rows.
pub(crate) enum Bare {
    Postgres(String),
    /// SQLite has one writer.
    Sqlite(Arc<Mutex<SqliteConnection>>),
}

impl Bare {
    /// Creates the table.
    pub(crate) async fn create(url: &str) -> Self {
        if !url.starts_with("sqlite") {
            let mut connection = PgConnection::connect(url).await.unwrap();
            connection.execute(sqlx::raw_sql("DROP TABLE IF EXISTS bare_inbox; CREATE TABLE bare_inbox (LIKE roomz_inbox INCLUDING ALL)")).await.unwrap();
            return Self::Postgres(url.to_owned());
        }
        let options: SqliteConnectOptions = url.parse().unwrap();
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.unwrap();
        let sql = "SELECT sql FROM sqlite_master WHERE tbl_name = 'roomz_inbox' AND sql IS NOT NULL ORDER BY type DESC";
        let scripts: Vec<(String,)> = sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap();
        for (script,) in scripts {
            let script = script.replace("roomz_inbox", "bare_inbox");
            connection.execute(AssertSqlSafe(script)).await.unwrap();
        }
        Self::Sqlite(Arc::new(Mutex::new(connection)))
    }

    /// Inserts for some time, this many rows at once. On PostgreSQL, each has a connection of its own.
    pub(crate) async fn insert(&self, concurrency: usize, duration: Duration) -> f64 {
        let row = || (rand::random::<u128>().to_be_bytes(), Bytes::from(TestEvent::busy().body()));
        match self {
            Self::Postgres(url) => {
                let mut workers = Vec::new();
                for _ in 0..concurrency {
                    let mut connection = PgConnection::connect(url).await.unwrap();
                    workers.push(move |start: Instant| async move {
                        let mut count = 0;
                        while start.elapsed() < duration {
                            let (id, body) = row();
                            let query = sqlx::query(POSTGRES).bind(id.to_vec()).bind(body.to_vec());
                            let _ = query.execute(&mut connection).await.unwrap();
                            count += 1;
                        }
                        count
                    });
                }
                closed_loop(workers).await
            }
            Self::Sqlite(connection) => {
                let worker = || {
                    let connection = Arc::clone(connection);
                    move |start: Instant| async move {
                        let mut count = 0;
                        while start.elapsed() < duration {
                            let (id, body) = row();
                            let query = sqlx::query(SQLITE).bind(id.to_vec()).bind(body.to_vec());
                            let _ = query.execute(&mut *connection.lock().await).await.unwrap();
                            count += 1;
                        }
                        count
                    }
                };
                closed_loop((0..concurrency).map(|_| worker()).collect()).await
            }
        }
    }
}

/// Executes statements.
pub(crate) async fn execute(url: &str, sql: &'static str) {
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let _ = connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let _ = connection.execute(sqlx::raw_sql(sql)).await.unwrap();
        connection.close().await.unwrap();
    }
}
