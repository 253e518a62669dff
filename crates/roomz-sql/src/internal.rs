//! Support of `roomz-inbox`, whose version is the same. It is not part of the public API.

use std::time::Duration;

use roomz_webhook::store::ConnectError;

use crate::builder::unknown_scheme;
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
    Postgres(sqlx::PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

/// Creates missing tables, checks them, and creates a pool, or uses that of the application.
pub async fn open(
    database: Database,
    migrations: bool,
    max_connections: u32,
    connect_timeout: Duration,
) -> Result<Pool, ConnectError> {
    let settings = &Settings { migrations, max_connections, connect_timeout, ..Settings::default() };
    match database.0 {
        Source::Url(url) => match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => Ok(Pool::Postgres(postgres::open_pool(&url, settings).await?)),
            #[cfg(feature = "sqlite")]
            Some("sqlite") => Ok(Pool::Sqlite(sqlite::open_pool(&url, settings).await?)),
            _ => Err(unknown_scheme(&url)),
        },
        #[cfg(feature = "postgres")]
        Source::Postgres(pool) => {
            postgres::check_pool(&pool, settings).await?;
            Ok(Pool::Postgres(pool))
        }
        #[cfg(feature = "sqlite")]
        Source::Sqlite(pool) => {
            sqlite::check_pool(&pool, settings).await?;
            Ok(Pool::Sqlite(pool))
        }
    }
}
