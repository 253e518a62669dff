use std::borrow::Cow;
use std::error::Error;

use roomz_protocol::debug_error_chain;

/// The error of connecting a store to its server or database.
///
/// `Display` says what happened and what to do. `Debug` adds the causes, so that an error returned from
/// `main` is readable. Neither contains the URL, which may contain a password.
#[derive(thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    kind: ConnectErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why a store could not be connected.
///
/// Only [`Unreachable`](Self::Unreachable) can pass without a change of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The URL is invalid, names a database in memory, or its scheme needs a feature that is not enabled.
    InvalidUrl,
    /// The server cannot be reached, or did not reply in time.
    Unreachable,
    /// The server rejected the login, or has no such database.
    LoginRejected,
    /// The connection cannot be encrypted as the URL requires.
    Tls,
    /// The file of the URL cannot be opened, or is not a database.
    InvalidFile,
    /// The store cannot work with this server or database: it is too old, or a setting does not fit. The
    /// message names it.
    Unsupported,
    /// A table or a column is missing, or has another type.
    InvalidSchema,
    /// The user lacks a required permission, or the database is read-only.
    PermissionDenied,
}

impl ConnectError {
    /// Creates an error. The message says what happened and what to do, without the URL.
    ///
    /// ```
    /// use roomz_webhook::store::{ConnectError, ConnectErrorKind};
    ///
    /// let error = ConnectError::new(ConnectErrorKind::Unreachable, "cannot reach the server; check that it runs");
    /// let error = error.with_source(std::io::Error::other("connection refused"));
    /// assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    /// assert_eq!(format!("{error:?}"), "cannot reach the server; check that it runs: connection refused");
    /// ```
    #[must_use]
    pub fn new(kind: ConnectErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the cause. `Debug` prints it, so its text must not contain the URL or a password.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns why the store could not be connected.
    #[must_use]
    pub const fn kind(&self) -> ConnectErrorKind {
        self.kind
    }
}

debug_error_chain!(ConnectError);
