use std::fmt;

/// Where the claims are kept: a URL, or a pool of yours.
///
/// | URL | |
/// |---|---|
/// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | `?sslmode=require` and stricter need the feature `tls` |
/// | `sqlite:FILE`, `sqlite:///ABSOLUTE/FILE` | the file is made if it is not there, unless `?mode=rw` |
///
/// A pool of PostgreSQL connections is used as it is: give it a `statement_timeout` below the layer's store time-out. So
/// is a pool of SQLite connections: give it one connection, `WAL`, `synchronous=FULL` and a `busy_timeout` below the
/// store time-out.
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

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Url(_) => "Database(URL)",
            #[cfg(feature = "postgres")]
            Source::Postgres(_) => "Database(PgPool)",
            #[cfg(feature = "sqlite")]
            Source::Sqlite(_) => "Database(SqlitePool)",
        })
    }
}
