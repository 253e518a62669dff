use std::pin::Pin;
use std::sync::{Arc, Mutex};

use roomz_webhook::store::{ConnectError, ConnectErrorKind};
use sqlx_core::transaction::TransactionManager as _;

use crate::db::connections::{Connections, Origin};
use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Protocol};
use crate::db::error::connect_error;
use crate::db::pool::Pool;
use crate::db::pooled::Pooled;
use crate::db::schema::check_and_migrate;
use crate::db::settings::Settings;
use crate::db::worker::Workers;

/// A database: a URL, or an existing pool.
///
/// | URL | |
/// |---|---|
/// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | `?sslmode=require` and stricter need the feature `tls`. `channel_binding`, `connect_timeout`, `keepalives…`, `pgbouncer` and `target_session_attrs=read-write` are ignored with a warning in the log |
/// | `sqlite:FILE`, `sqlite:///ABSOLUTE/FILE` | the file is created if it is missing. With `?mode=rw` a missing file is an error, with `?mode=rwc` it is created |
///
/// The URL may lead to a pooler such as PgBouncer; see [the crate
/// documentation](crate#postgresql-behind-a-pooler).
///
/// The store uses an existing pool without changing its settings:
///
/// - `sqlx::PgPool`: the store sets the isolation level and the timeouts of its own transactions.
/// - `sqlx::SqlitePool`: set journal mode `WAL`, `synchronous = FULL`, and a `busy_timeout` below the layer's
///   store timeout (2 s by default).
///
/// [An existing pool is slower than a URL](crate#existing-pools).
#[derive(derive_more::Debug)]
// Without its contents, because URLs contain passwords.
#[debug("Database")]
pub struct Database(Source);

enum Source {
    Url(String),
    Pool(Box<dyn FnOnce(Settings) -> Connecting + Send + Sync>),
}

/// The workers, and a pool for the transactions of handlers.
type Connected = Result<(Workers, Pool), ConnectError>;
type Connecting = Pin<Box<dyn Future<Output = Connected> + Send>>;

impl From<&str> for Database {
    fn from(url: &str) -> Self {
        Self(Source::Url(url.to_owned()))
    }
}

impl From<&String> for Database {
    fn from(url: &String) -> Self {
        Self(Source::Url(url.clone()))
    }
}

impl From<String> for Database {
    fn from(url: String) -> Self {
        Self(Source::Url(url))
    }
}

/// From `sqlx::PgPool` and `sqlx::SqlitePool`.
impl<D: Driver> From<sqlx::Pool<D>> for Database {
    fn from(pool: sqlx::Pool<D>) -> Self {
        Self(Source::Pool(Box::new(|settings| Box::pin(use_pool(pool, settings)))))
    }
}

/// Connects, creates missing tables, and executes the tests.
///
/// Returns a pool for the transactions of handlers, too.
pub async fn connect(database: Database, settings: &Settings) -> Result<(Workers, Pool), ConnectError> {
    match database.0 {
        Source::Url(url) => match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => crate::db::postgres::connect(&url, settings).await,
            #[cfg(feature = "sqlite")]
            Some("sqlite") => crate::db::sqlite::connect(&url, settings).await,
            _ => Err(unknown_scheme(&url)),
        },
        Source::Pool(use_pool) => use_pool(*settings).await,
    }
}

/// Uses a pool of the application.
async fn use_pool<D: Driver>(pool: sqlx::Pool<D>, settings: Settings) -> Connected {
    // SQLite has one writer.
    let max = if D::DIALECT == Dialect::Sqlite { 1 } else { settings.worker_connections };
    let mut pooled = settings.execute(Pooled::acquire(&pool)).await?;
    let connection = pooled.connection().map_err(connect_error)?;
    // The application may have left the connection inside a transaction.
    let is_left = settings.execute(D::begin(connection, D::BEGIN)).await?;
    settings.execute(D::TransactionManager::rollback(connection)).await?;
    let found = settings.execute(D::settings(connection)).await?;
    // It can lead to a pooler.
    let protocol = Protocol::transaction::<D>(settings.response_timeout, &found);
    check_and_migrate::<D>(connection, &settings).await?;
    pooled.is_left = is_left;
    pooled.release();
    let suspects = Arc::default();
    let begin = format!("{}{found}", D::BEGIN);
    let handler_pool = Pool::new(pool.clone(), &begin, Arc::clone(&suspects), None);
    let (origin, writer) = (Origin::Pool(pool), None);
    let connections = Connections { origin, protocol, max, suspects, abandoned: Mutex::default(), writer };
    Ok((Workers::spawn(connections, &settings), handler_pool))
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
