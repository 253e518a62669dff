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
///
/// The second value is whether a connection keeps its prepared statements. A pooler can execute the statements of one
/// connection in several sessions of the server, and the pool of an application may lead to a pooler.
pub async fn open(
    database: Database,
    migrations: bool,
    max_connections: u32,
    connect_timeout: Duration,
) -> Result<(Pool, bool), ConnectError> {
    let settings = &Settings { migrations, max_connections, connect_timeout, ..Settings::default() };
    match database.0 {
        Source::Url(url) => match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => {
                let (pool, keeps_statements) = postgres::open_pool(&url, settings).await?;
                Ok((Pool::Postgres(pool), keeps_statements))
            }
            #[cfg(feature = "sqlite")]
            Some("sqlite") => Ok((Pool::Sqlite(sqlite::open_pool(&url, settings).await?), true)),
            _ => Err(unknown_scheme(&url)),
        },
        #[cfg(feature = "postgres")]
        Source::Postgres(pool) => {
            postgres::check_pool(&pool, settings).await?;
            Ok((Pool::Postgres(pool), false))
        }
        #[cfg(feature = "sqlite")]
        Source::Sqlite(pool) => {
            sqlite::check_pool(&pool, settings).await?;
            Ok((Pool::Sqlite(pool), true))
        }
    }
}
