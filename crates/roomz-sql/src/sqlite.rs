use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use crate::pool::Connections;
use crate::prepare;
use crate::settings::Settings;
use crate::sqlx_error::connect_error;
use crate::statements::SQLITE;
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The delay before a busy file is opened again.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Opens the file of this URL.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<Connections, ConnectError> {
    let options = SqliteConnectOptions::from_str(url).map_err(connect_error)?;
    let options = options
        .create_if_missing(!url.contains("mode="))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(settings.response_timeout);
    let start = Instant::now();
    let pool = loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(settings.connect_timeout)
            .test_before_acquire(false);
        match pool.connect_with(options.clone()).await {
            // When several processes switch a new file to WAL at once, one succeeds. SQLite fails the others at once,
            // without the busy timeout.
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some("5") && start.elapsed() < settings.connect_timeout =>
            {
                tokio::time::sleep(BUSY_RETRY_INTERVAL).await;
            }
            pool => break pool.map_err(connect_error)?,
        }
    };
    use_pool(pool, settings).await
}

/// Uses a pool of the application.
pub(crate) async fn use_pool(pool: SqlitePool, settings: &Settings) -> Result<Connections, ConnectError> {
    let mut connection = pool.acquire().await.map_err(connect_error)?;
    check_and_migrate(&mut connection, settings).await?;
    drop(connection);
    Ok(Connections::Sqlite(pool))
}

async fn check_and_migrate(
    connection: &mut SqliteConnection,
    settings: &Settings,
) -> Result<(), ConnectError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(connect_error)?;
    prepare::require_version("SQLite", &version, (3, 42))?;
    // A database in memory or in a temporary file is lost when its connection closes.
    let file: Option<String> =
        sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'")
            .fetch_one(&mut *connection)
            .await
            .map_err(connect_error)?;
    if file.is_none_or(|file| file.is_empty()) {
        let message = "invalid SQLite database: it is in memory; use a file, for example sqlite:claims.db";
        return Err(ConnectError::new(ConnectErrorKind::InvalidUrl, message));
    }
    match prepare::self_test!(connection, "BEGIN IMMEDIATE", SQLITE) {
        Err(error) if settings.migrations && error.kind() == ConnectErrorKind::InvalidSchema => {
            prepare::migrate!(connection, "BEGIN IMMEDIATE", [] as [&str; 0])?;
            prepare::self_test!(connection, "BEGIN IMMEDIATE", SQLITE)
        }
        result => result,
    }
}
