use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Error, Sqlite};

use crate::db::driver::Protocol;
use crate::db::error::connect_error;
use crate::db::schema::check_and_migrate;
use crate::db::settings::Settings;
use roomz_webhook::store::ConnectError;

/// The pause before a busy file is opened again.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Creates the tables in the file of this URL, and returns the options of further connections.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<SqliteConnectOptions, ConnectError> {
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
        check_and_migrate::<Sqlite>(&mut connection, &Protocol::Prepared, settings).await?;
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
    check_and_migrate::<Sqlite>(&mut connection, &Protocol::Prepared, settings).await?;
    let _ = connection.close().await;
    // A file that disappears, for example with its volume, is not created again without its claims.
    Ok(options.create_if_missing(false))
}
