//! Creates the table of the handler. In a larger service, your migrations do this.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

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
pub async fn create(url: &str) -> Result<(), sqlx::Error> {
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await?;
        sqlx::raw_sql(SQLITE).execute(&mut connection).await?;
        connection.close().await
    } else {
        let options: PgConnectOptions = url.parse()?;
        // PgBouncer rejects this parameter.
        let mut connection = options.extra_float_digits(None).connect().await?;
        sqlx::raw_sql(POSTGRES).execute(&mut connection).await?;
        connection.close().await
    }
}
