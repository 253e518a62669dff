//! Creates the table of the handler. In a larger service, your migrations do this.

use roomz_inbox::{BoxError, postgres_options, sqlite_options};
use sqlx::{ConnectOptions as _, Connection as _};

/// The lock prevents an error if two instances create the table at once. Its number is arbitrary.
const POSTGRES: &str = "SELECT pg_advisory_xact_lock(5106293841); \
                        CREATE TABLE IF NOT EXISTS presence_log (event_id TEXT NOT NULL, workspace_id TEXT NOT NULL, \
                        status TEXT NOT NULL, handled_at TIMESTAMPTZ NOT NULL)";
const SQLITE: &str = "CREATE TABLE IF NOT EXISTS presence_log (event_id TEXT NOT NULL, workspace_id TEXT NOT NULL, \
                      status TEXT NOT NULL, handled_at TEXT NOT NULL)";

/// Creates the table `presence_log` if it is missing.
///
/// # Errors
///
/// The error of the database.
pub async fn create(url: &str) -> Result<(), BoxError> {
    if url.starts_with("sqlite:") {
        let mut connection = sqlite_options(url)?.connect().await?;
        sqlx::raw_sql(SQLITE).execute(&mut connection).await?;
        connection.close().await?;
    } else {
        let mut connection = postgres_options(url)?.connect().await?;
        sqlx::raw_sql(POSTGRES).execute(&mut connection).await?;
        connection.close().await?;
    }
    Ok(())
}
