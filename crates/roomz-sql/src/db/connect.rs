use std::sync::{Arc, Mutex};

use roomz_webhook::store::{ConnectError, ConnectErrorKind};

use crate::db::connections::{Connections, Origin};
use crate::db::database::{Database, Source};
use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Protocol};
use crate::db::error::connect_error;
use crate::db::pool::{Pool, pool_options};
use crate::db::pooled::Pooled;
#[cfg(feature = "postgres")]
use crate::db::postgres;
use crate::db::schema::check_and_migrate;
use crate::db::settings::Settings;
#[cfg(feature = "sqlite")]
use crate::db::sqlite;
use crate::db::suspects::Suspects;
use crate::db::worker::Workers;
use sqlx_core::transaction::TransactionManager as _;

/// Connects, creates missing tables, and executes the tests.
///
/// Returns a pool for the transactions of handlers, too.
pub async fn connect(database: Database, settings: &Settings) -> Result<(Workers, Pool), ConnectError> {
    match database.0 {
        Source::Url(url) => match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => {
                let (options, with_settings, protocol, begin) = postgres::connect(&url, settings).await?;
                let suspects = Arc::default();
                let pool = pool_options(settings.handler_connections.max(1), &suspects);
                let pool = postgres::handler_pool(options, &protocol, pool);
                let origin = Origin::<sqlx::Postgres>::Url(Box::new(with_settings));
                let pool = Pool::new(pool, &begin, Arc::clone(&suspects));
                Ok((spawn(origin, protocol, settings.worker_connections, suspects, settings), pool))
            }
            #[cfg(feature = "sqlite")]
            Some("sqlite") => {
                let options = sqlite::connect(&url, settings).await?;
                let suspects = Arc::default();
                // SQLite has one writer, and a pool serves those who wait in order.
                let pool = pool_options::<sqlx::Sqlite>(1, &suspects).connect_lazy_with(options.clone());
                let origin = if settings.handler_connections > 0 {
                    Origin::Pool(pool.clone())
                } else {
                    Origin::Url(Box::new(options))
                };
                let pool = Pool::new(pool, "", Arc::clone(&suspects));
                Ok((spawn(origin, Protocol::Prepared, 1, suspects, settings), pool))
            }
            _ => Err(unknown_scheme(&url)),
        },
        #[cfg(feature = "postgres")]
        Source::Postgres(pool) => use_pool(pool, settings).await,
        #[cfg(feature = "sqlite")]
        Source::Sqlite(pool) => use_pool(pool, settings).await,
    }
}

/// Uses a pool of the application.
async fn use_pool<D: Driver>(
    pool: sqlx::Pool<D>,
    settings: &Settings,
) -> Result<(Workers, Pool), ConnectError> {
    // SQLite has one writer.
    let count = if D::DIALECT == Dialect::Sqlite { 1 } else { settings.worker_connections };
    let mut pooled = settings.execute(Pooled::acquire(&pool)).await?;
    let connection = pooled.connection().map_err(connect_error)?;
    // The application may have left the connection inside a transaction.
    let is_left = settings.execute(D::begin(connection, D::BEGIN)).await?;
    settings.execute(D::TransactionManager::rollback(connection)).await?;
    let found = settings.execute(D::settings(connection)).await?;
    // It can lead to a pooler.
    let protocol = Protocol::transaction::<D>(settings.response_timeout, &found);
    check_and_migrate::<D>(connection, &protocol, settings).await?;
    pooled.is_left = is_left;
    pooled.release();
    let suspects = Arc::default();
    let handler_pool = Pool::new(pool.clone(), &found, Arc::clone(&suspects));
    Ok((spawn(Origin::Pool(pool), protocol, count, suspects, settings), handler_pool))
}

fn spawn<D: Driver>(
    origin: Origin<D>,
    protocol: Protocol,
    count: u32,
    suspects: Arc<Suspects>,
    settings: &Settings,
) -> Workers {
    let connections = Connections { origin, protocol, max: count, suspects, abandoned: Mutex::default() };
    Workers::spawn(connections, settings)
}

/// The message names the scheme at most: the rest of the URL may contain a password.
fn unknown_scheme(url: &str) -> ConnectError {
    const ADVICE: &str = "use postgres:// (feature `postgres`) or sqlite: (feature `sqlite`)";
    // `user:password@host` has no scheme.
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let scheme = scheme.filter(|scheme| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let message = match scheme {
        Some(scheme @ ("postgres" | "postgresql" | "sqlite")) => {
            let feature = if scheme == "sqlite" { "sqlite" } else { "postgres" };
            format!("invalid database URL: {scheme}: needs the feature `{feature}` of roomz-sql; enable it")
        }
        Some(scheme) => format!("invalid database URL: unknown scheme {scheme:?}; {ADVICE}"),
        None => format!("invalid database URL: the scheme is missing; {ADVICE}"),
    };
    ConnectError::new(ConnectErrorKind::InvalidUrl, message)
}
