use std::error::Error;
use std::fmt;

/// A store could not be connected. Neither the text nor the source holds the URL, which may hold a password.
#[derive(Debug)]
pub struct ConnectError {
    kind: ConnectErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why a store could not be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The URL cannot be used, or asks for a database in memory.
    Url,
    /// The URL begins with neither `postgres:` nor `sqlite:`, or with one whose feature is not enabled.
    Scheme,
    /// The server cannot be reached, or did not answer in time.
    Unreachable,
    /// The file of an SQLite database cannot be opened, or is none.
    File,
    /// The server refused the login, or has no such database.
    Login,
    /// The database is too old.
    #[non_exhaustive]
    TooOld {
        /// `PostgreSQL` or `SQLite`.
        product: &'static str,
        /// Its version.
        found: String,
        /// The version needed at least.
        least: (u32, u32),
    },
    /// The URL asks for encryption (`sslmode`), which needs the feature `tls`, or it failed.
    Tls,
    /// A pooler shares connections between transactions, which prepared statements do not survive.
    Pooler,
    /// The pool's transactions are stricter than `READ COMMITTED`, so that claims of one event would fail instead of
    /// waiting for each other.
    Isolation,
    /// A table or a column is missing, or is not as the store made it.
    Schema,
    /// The database lets this user not do what a store must, or cannot be written.
    Refused,
}

impl ConnectError {
    pub(crate) const fn new(kind: ConnectErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) const fn too_old(product: &'static str, found: String, least: (u32, u32)) -> Self {
        Self::new(ConnectErrorKind::TooOld { product, found, least })
    }

    pub(crate) fn from_sqlx(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => ConnectErrorKind::Url,
            sqlx::Error::Database(error) => database_kind(error.as_ref()),
            sqlx::Error::Tls(_) => ConnectErrorKind::Tls,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => ConnectErrorKind::Schema,
            _ => ConnectErrorKind::Unreachable,
        };
        Self { kind, source: Some(error.into()) }
    }

    /// Why.
    #[must_use]
    pub const fn kind(&self) -> &ConnectErrorKind {
        &self.kind
    }
}

/// PostgreSQL has five characters for a code, SQLite a number.
fn database_kind(error: &dyn sqlx::error::DatabaseError) -> ConnectErrorKind {
    let code = error.code();
    let code = code.as_deref().unwrap_or_default();
    if let (true, Ok(number)) = (code.len() < 5, code.parse::<u32>()) {
        // The primary code is in the last byte.
        return match number & 0xff {
            1 => ConnectErrorKind::Schema,
            5 | 6 | 10 | 13 => ConnectErrorKind::Unreachable,
            11 | 14 | 26 => ConnectErrorKind::File,
            _ => ConnectErrorKind::Refused,
        };
    }
    match code {
        "28000" | "28P01" | "3D000" => ConnectErrorKind::Login,
        "26000" | "42P05" => ConnectErrorKind::Pooler,
        "3F000" | "23502" | "42P01" | "42P07" | "42703" | "42804" | "42883" | "42P10" => {
            ConnectErrorKind::Schema
        }
        "53300" | "55P03" | "57014" | "57P01" | "57P02" | "57P03" => ConnectErrorKind::Unreachable,
        _ => ConnectErrorKind::Refused,
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ConnectErrorKind::Url => f.write_str(
                "the URL of the SQL store cannot be used: it must look like \
                 postgres://USER:PASSWORD@HOST:PORT/DATABASE or sqlite:FILE, and not ask for memory",
            ),
            ConnectErrorKind::Scheme => f.write_str(
                "the URL of the SQL store must begin with postgres:// (feature `postgres`) or sqlite: (feature `sqlite`)",
            ),
            ConnectErrorKind::Unreachable => f.write_str(
                "the database of the SQL store cannot be reached, or did not answer in time: see that the server runs and \
                 takes connections, that host and port are right, and that nobody holds a lock on `roomz_claims`",
            ),
            ConnectErrorKind::File => f.write_str(
                "the file of the SQL store's URL cannot be opened: its directory must exist and be writable, and the \
                 file be an SQLite database",
            ),
            ConnectErrorKind::Login => f.write_str(
                "the server refused the login: see the user, the password and the database of the SQL store's URL",
            ),
            ConnectErrorKind::TooOld { product, found, least: (major, minor) } => {
                write!(f, "the SQL store's {product} has version {found:?}: {major}.{minor} or later is needed")
            }
            ConnectErrorKind::Tls => f.write_str(
                "the SQL store's connection cannot be encrypted as `sslmode` asks: enable the feature `tls`, and see that \
                 the server has a certificate that can be verified",
            ),
            ConnectErrorKind::Pooler => f.write_str(
                "the SQL store is behind a pooler that shares connections between transactions: give it a direct address, \
                 or one that keeps a connection for a session",
            ),
            ConnectErrorKind::Isolation => f.write_str(
                "the SQL store's pool has a `default_transaction_isolation` stricter than `read committed`: give the store a \
                 URL, or a pool of its own",
            ),
            ConnectErrorKind::Schema => f.write_str(
                "the tables of the SQL store are missing or not as it made them: run the scripts of \
                 `roomz_sql::MIGRATIONS`, or let the store do so with `with_migrations(true)`; if `roomz_claims` was \
                 dropped, drop `roomz_migrations` too",
            ),
            ConnectErrorKind::Refused => f.write_str(
                "the database refused what the SQL store does: the user needs SELECT, INSERT, UPDATE and DELETE on \
                 `roomz_claims` (and CREATE, to make it), and the database must be writable",
            ),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
