use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Error, Sqlite, SqliteConnection};

use crate::db::connections::{Connections, Origin};
use crate::db::driver::{Driver as _, Protocol, first_row};
use crate::db::error::connect_error;
use crate::db::pool::{Pool, pool_options};
use crate::db::pooled::Writer;
use crate::db::schema::check_and_migrate;
use crate::db::settings::{RESPONSE_TIMEOUT, Settings};
use crate::db::worker::Workers;
use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// The pause before a busy file is opened again.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Returns the options with which the store opens this SQLite URL, for a pool of your own.
///
/// [`connect`](crate::SqlStore::connect) creates the file; this does not. SQLite has one writer, so one
/// connection is enough:
///
/// ```no_run
/// use roomz_sql::{SqlStore, sqlite_options};
/// use sqlx::sqlite::SqlitePoolOptions;
///
/// # async fn connect(url: &str) -> Result<(), roomz_sql::ConnectError> {
/// let store = SqlStore::connect(url).await?;
/// let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(sqlite_options(url)?);
/// # drop((store, pool));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ConnectErrorKind::InvalidUrl`].
pub fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, ConnectError> {
    if !url.starts_with("sqlite:") {
        // sqlx would quote a part of it, which can be one of a password.
        return Err(ConnectError::new(ConnectErrorKind::InvalidUrl, "not a SQLite URL; use sqlite://FILE"));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(connect_error)?;
    Ok(options.create_if_missing(false).synchronous(SqliteSynchronous::Full).busy_timeout(RESPONSE_TIMEOUT))
}

/// Opens the file of this URL, and creates missing tables.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<(Workers, Pool), ConnectError> {
    let options = prepare(url, settings).await?;
    let suspects = Arc::default();
    // The commit of a handler waits for no sync to disk; the next one of the worker syncs it, too.
    let begin = format!("PRAGMA synchronous = NORMAL; {}", Sqlite::BEGIN);
    let pool = pool_options::<Sqlite>(1, &suspects).connect_lazy_with(options.clone());
    let writer = Some(Writer::default());
    let mut pool = Pool::new(pool, &begin, Arc::clone(&suspects), writer.clone());
    pool.is_durable = false;
    let (origin, protocol) = (Origin::Url(Box::new(options)), Protocol::Prepared);
    let connections = Connections { origin, protocol, max: 1, suspects, abandoned: Mutex::default(), writer };
    Ok((Workers::spawn(connections, settings), pool))
}

/// Creates the tables in the file, and returns the options of further connections.
async fn prepare(url: &str, settings: &Settings) -> Result<SqliteConnectOptions, ConnectError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mode = query.split('&').find_map(|parameter| parameter.strip_prefix("mode="));
    let options = sqlite_options(url)?
        .create_if_missing(mode.is_none_or(|mode| mode == "rwc"))
        .busy_timeout(settings.response_timeout)
        .disable_statement_logging();
    if !settings.migrations {
        // A wrong URL must not change the journal mode of another program's file.
        let mut connection = options.connect().await.map_err(connect_error)?;
        check_and_migrate::<Sqlite>(&mut connection, settings).await?;
        let _ = connection.close().await;
    }
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let start = Instant::now();
    let mut connection = loop {
        match options.connect().await {
            // When several processes switch a new file to WAL at once, one succeeds. SQLite fails the others
            // at once, without the busy timeout.
            Err(Error::Database(error))
                if error.code().as_deref() == Some("5") && start.elapsed() < settings.connect_timeout =>
            {
                tokio::time::sleep(BUSY_RETRY_INTERVAL).await;
            }
            connected => break connected.map_err(connect_error)?,
        }
    };
    require_wal(&mut connection, options.get_filename()).await?;
    check_and_migrate::<Sqlite>(&mut connection, settings).await?;
    let _ = connection.close().await;
    // A file that disappears, for example with its volume, is not created again without its claims.
    Ok(options.create_if_missing(false))
}

/// SQLite keeps another journal mode, without an error, where it cannot share memory.
async fn require_wal(connection: &mut SqliteConnection, file: &Path) -> Result<(), ConnectError> {
    // A database in memory has another mode, too.
    Sqlite::check(connection).await?;
    let row = first_row::<Sqlite>(connection, "PRAGMA journal_mode").await.map_err(connect_error)?;
    let mode = row.text(0).map_err(connect_error)?;
    if mode == "wal" {
        return Ok(());
    }
    let message = format!(
        "the SQLite file {} has the journal mode {mode:?} and cannot use WAL; put it on a local disk, where SQLite's \
         locks work, and remove `vfs` and `immutable` from the URL",
        file.display()
    );
    Err(ConnectError::new(ConnectErrorKind::InvalidFile, message))
}
