//! Support of `roomz-inbox`, whose version is the same. It is not part of the public API.

use std::time::Duration;

use roomz_webhook::store::ConnectError;

use crate::builder::{MAX_TIMEOUT, MIN_TIMEOUT, unknown_scheme};
use crate::database::{Database, Source};
pub use crate::pooled::Pooled;
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::settings::Settings;
#[cfg(feature = "sqlite")]
use crate::sqlite;

/// A pool of connections to the database that has the tables.
#[allow(clippy::exhaustive_enums, reason = "roomz-inbox has a branch for each database")]
#[derive(Clone, Debug)]
pub enum Pool {
    #[cfg(feature = "postgres")]
    Postgres {
        pool: sqlx::PgPool,
        /// Whether the sessions keep prepared statements. Those of a pooler may not.
        keeps_statements: bool,
    },
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

/// Creates missing tables, checks them, and creates a pool, or uses that of the application.
///
/// The test is executed in a transaction that is rolled back.
///
/// # Errors
///
/// Those of [`SqlStoreBuilder::connect`](crate::SqlStoreBuilder::connect).
pub async fn open(
    database: Database,
    migrations: bool,
    max_connections: u32,
    connect_timeout: Duration,
    test: &'static str,
) -> Result<Pool, ConnectError> {
    let connect_timeout = connect_timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
    let settings = &Settings { migrations, max_connections, connect_timeout, test, ..Settings::default() };
    match database.0 {
        Source::Url(url) => match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => {
                let (pool, keeps_statements) = postgres::open_pool(&url, settings).await?;
                Ok(Pool::Postgres { pool, keeps_statements })
            }
            #[cfg(feature = "sqlite")]
            Some("sqlite") => Ok(Pool::Sqlite(sqlite::open_pool(&url, settings).await?)),
            _ => Err(unknown_scheme(&url)),
        },
        #[cfg(feature = "postgres")]
        Source::Postgres(pool) => {
            postgres::check_pool(&pool, settings).await?;
            // It can lead to a pooler.
            Ok(Pool::Postgres { pool, keeps_statements: false })
        }
        #[cfg(feature = "sqlite")]
        Source::Sqlite(pool) => {
            sqlite::check_pool(&pool, settings).await?;
            Ok(Pool::Sqlite(pool))
        }
    }
}
