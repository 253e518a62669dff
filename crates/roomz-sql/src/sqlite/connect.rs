use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Error, SqliteConnection, SqlitePool};
use tokio::time::timeout;

use crate::migrations::{self, SQLITE_MIGRATIONS};
use crate::pooled::Pooled;
use crate::presence_statements::{self, PresenceRow};
use crate::self_test::SelfTest;
use crate::settings::Settings;
use crate::single;
use crate::sqlite::backend::{Source, Sqlite, SqliteSession, query};
use crate::sqlite::batch;
use crate::sqlx_error::{BUSY_FILE, connect_error};
use roomz_webhook::store::{ConnectError, ConnectErrorKind, Owner};

/// The pause before a busy file is opened again.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Opens the file of this URL.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<Sqlite, ConnectError> {
    let options = open_and_migrate(url, settings).await?;
    Ok(Sqlite { source: Source::Url(Box::new(options)), return_timeout: settings.response_timeout })
}

/// Creates a pool with one connection: SQLite has one writer, and a pool serves those who wait in order.
pub(crate) async fn open_pool(url: &str, settings: &Settings) -> Result<SqlitePool, ConnectError> {
    let options = open_and_migrate(url, settings).await?;
    let pool = SqlitePoolOptions::new().max_connections(1);
    Ok(pool.acquire_timeout(settings.connect_timeout).connect_lazy_with(options))
}

/// Creates the tables in the file of this URL, and returns the options of further connections.
async fn open_and_migrate(url: &str, settings: &Settings) -> Result<SqliteConnectOptions, ConnectError> {
    let options = SqliteConnectOptions::from_str(url).map_err(connect_error)?;
    let has_mode = url.split_once('?').is_some_and(|(_, query)| query.contains("mode="));
    let options = options
        .create_if_missing(!has_mode)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(settings.response_timeout)
        .disable_statement_logging();
    if !settings.migrations {
        // A wrong URL must not change the journal mode of another program's file.
        let mut connection = options.connect().await.map_err(connect_error)?;
        within(settings, check_and_migrate(&mut connection, settings)).await?;
        let _ = connection.close().await;
    }
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let start = Instant::now();
    let mut connection = loop {
        match options.connect().await {
            // When several processes switch a new file to WAL at once, one succeeds. SQLite fails the others at once,
            // without the busy timeout.
            Err(Error::Database(error))
                if error.code().as_deref() == Some("5") && start.elapsed() < settings.connect_timeout =>
            {
                tokio::time::sleep(BUSY_RETRY_INTERVAL).await;
            }
            connected => break connected.map_err(connect_error)?,
        }
    };
    within(settings, check_and_migrate(&mut connection, settings)).await?;
    let _ = connection.close().await;
    // A file that disappears, for example with its volume, is not created again without its claims.
    Ok(options.create_if_missing(false))
}

/// Uses a pool of the application.
pub(crate) async fn use_pool(pool: SqlitePool, settings: &Settings) -> Result<Sqlite, ConnectError> {
    check_pool(&pool, settings).await?;
    Ok(Sqlite { source: Source::Pool(pool), return_timeout: settings.response_timeout })
}

/// Creates the tables with a connection of this pool.
pub(crate) async fn check_pool(pool: &SqlitePool, settings: &Settings) -> Result<(), ConnectError> {
    let acquired = within(settings, async { Pooled::acquire(pool).await.map_err(connect_error) });
    let mut pooled = acquired.await?;
    within(settings, check_and_migrate(pooled.connection().map_err(connect_error)?, settings)).await?;
    pooled.release(settings.response_timeout);
    Ok(())
}

async fn within<T>(
    settings: &Settings,
    future: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let busy = || ConnectError::new(ConnectErrorKind::Unreachable, BUSY_FILE);
    timeout(settings.connect_timeout, future).await.unwrap_or_else(|_| Err(busy()))
}

async fn check_and_migrate(
    connection: &mut SqliteConnection,
    settings: &Settings,
) -> Result<(), ConnectError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(connect_error)?;
    migrations::require_version("SQLite", &version, (3, 42))?;
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
    match test(connection).await {
        Err(error) if settings.migrations && error.kind() == ConnectErrorKind::InvalidSchema => {
            let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(connect_error)?;
            migrations::run!(&mut *transaction, SQLITE_MIGRATIONS)?;
            transaction.commit().await.map_err(connect_error)?;
            test(connection).await
        }
        result => result,
    }
}

/// Compares the migrations, and executes every statement in a transaction that it rolls back.
async fn test(connection: &mut SqliteConnection) -> Result<(), ConnectError> {
    let history = migrations::read_history!(connection)?;
    migrations::compare(&history, SQLITE_MIGRATIONS)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(connect_error)?;
    single::self_test(&mut SqliteSession(&mut transaction)).await.map_err(connect_error)?;
    for (statement, values) in presence_statements::SQLITE.self_test(Owner::random().to_bytes()) {
        let rows = query::<PresenceRow>(statement, values).fetch_all(&mut *transaction);
        rows.await.map_err(connect_error)?;
    }
    test_batches(&mut transaction).await.map_err(connect_error)?;
    transaction.rollback().await.map_err(connect_error)
}

async fn test_batches(connection: &mut SqliteConnection) -> Result<(), Error> {
    let SelfTest { claims, duplicates, completions } = SelfTest::new();
    batch::claim(connection, &claims.each_ref()).await?;
    batch::claim(connection, &duplicates.each_ref()).await?;
    batch::settle(connection, &completions.each_ref()).await.map(drop)
}
