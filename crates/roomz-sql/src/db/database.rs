use std::fmt;

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
pub struct Database(pub(crate) Source);

pub(crate) enum Source {
    Url(String),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

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

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for Database {
    fn from(pool: sqlx::PgPool) -> Self {
        Self(Source::Postgres(pool))
    }
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for Database {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self(Source::Sqlite(pool))
    }
}

/// Prints the variant only, because URLs contain passwords.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.0, Source::Url(_)) { "Database(URL)" } else { "Database(pool)" })
    }
}
