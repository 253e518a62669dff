use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use crate::builder::SqlStoreBuilder;
use crate::error::{ConnectError, ConnectErrorKind};
use crate::pool::Connections;
use crate::prepare;
use crate::statements::SQLITE;

/// Before a busy file is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

impl SqlStoreBuilder {
    pub(crate) async fn open_sqlite(&self, url: &str) -> Result<Connections, ConnectError> {
        let options = SqliteConnectOptions::from_str(url).map_err(ConnectError::from_sqlx)?;
        let options = options
            .create_if_missing(!url.contains("mode="))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.response_timeout);
        let start = Instant::now();
        let pool = loop {
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(self.connect_timeout)
                .test_before_acquire(false);
            match pool.connect_with(options.clone()).await {
                // Of several that turn a new file to WAL at once, SQLite lets one and does not make the others wait.
                Err(sqlx::Error::Database(error))
                    if error.code().as_deref() == Some("5") && start.elapsed() < self.connect_timeout =>
                {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                pool => break pool.map_err(ConnectError::from_sqlx)?,
            }
        };
        self.take_sqlite(pool).await
    }

    pub(crate) async fn take_sqlite(&self, pool: SqlitePool) -> Result<Connections, ConnectError> {
        let mut connection = pool.acquire().await.map_err(ConnectError::from_sqlx)?;
        self.prepare_sqlite(&mut connection).await?;
        drop(connection);
        Ok(Connections::Sqlite(pool))
    }

    async fn prepare_sqlite(&self, connection: &mut SqliteConnection) -> Result<(), ConnectError> {
        let version: String = sqlx::query_scalar("SELECT sqlite_version()")
            .fetch_one(&mut *connection)
            .await
            .map_err(ConnectError::from_sqlx)?;
        prepare::require_version("SQLite", &version, (3, 42))?;
        // A database in memory, or in a temporary file, is lost with its connection.
        let file: Option<String> =
            sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'")
                .fetch_one(&mut *connection)
                .await
                .map_err(ConnectError::from_sqlx)?;
        if file.is_none_or(|file| file.is_empty()) {
            return Err(ConnectError::new(ConnectErrorKind::Url));
        }
        match prepare::try_out!(connection, "BEGIN IMMEDIATE", SQLITE) {
            Err(error) if self.migrations && error.kind() == &ConnectErrorKind::Schema => {
                prepare::migrate!(connection, "BEGIN IMMEDIATE", [] as [&str; 0])?;
                prepare::try_out!(connection, "BEGIN IMMEDIATE", SQLITE)
            }
            result => result,
        }
    }
}
