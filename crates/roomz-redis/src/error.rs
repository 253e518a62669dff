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
    /// The URL is none that Redis has.
    Url,
    /// The server cannot be reached, or did not answer in time.
    Unreachable,
    /// The server refused the login.
    Login,
    /// The server is older than Redis 6.
    #[non_exhaustive]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The server lets this user not do what a store must, or cannot write.
    Refused,
}

impl ConnectError {
    pub(crate) fn new(kind: ConnectErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    pub(crate) const fn too_old(found: String) -> Self {
        Self { kind: ConnectErrorKind::TooOld { found }, source: None }
    }

    /// Why.
    #[must_use]
    pub const fn kind(&self) -> &ConnectErrorKind {
        &self.kind
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ConnectErrorKind::Url => f.write_str(
                "the Redis URL cannot be used: it must look like redis://USER:PASSWORD@HOST:PORT/DATABASE \
                 (rediss:// needs the feature `tls`)",
            ),
            ConnectErrorKind::Unreachable => f.write_str(
                "the Redis server of the URL cannot be reached: see that it runs, and that host and port are right",
            ),
            ConnectErrorKind::Login => f.write_str(
                "the Redis server refused the login: see the user, the password and the database number of the URL",
            ),
            ConnectErrorKind::TooOld { found } => {
                write!(f, "the Redis server has version {found:?}: 6.0 or later is needed")
            }
            ConnectErrorKind::Refused => f.write_str(
                "the Redis server refused what a store does: the user needs EVALSHA, EVAL, SCRIPT LOAD, INFO, TIME, \
                 HSET, HMGET, HDEL, PTTL and PEXPIRE on the prefix's keys, and the server must be writable",
            ),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
