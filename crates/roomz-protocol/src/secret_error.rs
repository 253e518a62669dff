use std::path::PathBuf;
use std::{fmt, io};

use crate::error_debug::write_message_and_sources;

/// The error of a secret that cannot be read or used. It contains no part of the secret.
///
/// `Debug` prints the message of `Display` and then its source, so that an error returned from `main` is readable:
///
/// ```
/// use roomz_protocol::Secret;
///
/// let error = Secret::new("").unwrap_err();
/// assert_eq!(format!("{error:?}"), "the secret is empty: use the webhook secret from ROOMZ");
/// ```
pub struct SecretError {
    kind: SecretErrorKind,
    origin: SecretOrigin,
    io: Option<io::Error>,
}

/// Where a secret was read from. The error message names it.
pub(crate) enum SecretOrigin {
    Value,
    Env(String),
    File(PathBuf),
}

impl SecretError {
    pub(crate) const fn new(kind: SecretErrorKind, origin: SecretOrigin) -> Self {
        Self { kind, origin, io: None }
    }

    pub(crate) const fn unreadable(path: PathBuf, error: io::Error) -> Self {
        Self { kind: SecretErrorKind::Unreadable, origin: SecretOrigin::File(path), io: Some(error) }
    }

    /// Returns what is wrong with the secret.
    #[must_use]
    pub const fn kind(&self) -> SecretErrorKind {
        self.kind
    }
}

/// What is wrong with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretErrorKind {
    /// The environment variable is not set.
    NotSet,
    /// The environment variable is not UTF-8.
    NotUtf8,
    /// The file cannot be read. The error's `source()` is the I/O error.
    Unreadable,
    /// The secret is empty.
    Empty,
    /// The secret is only white space.
    Blank,
    /// The secret contains a NUL byte.
    Nul,
    /// The secret ends with a newline, like a file that `echo` wrote.
    TrailingNewline,
    /// The secret begins or ends with white space other than a final newline.
    SurroundingWhitespace,
    /// The secret is longer than 64 KiB.
    TooLong,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            SecretOrigin::Value => f.write_str("the secret ")?,
            SecretOrigin::Env(variable) => write!(f, "the environment variable {variable} ")?,
            SecretOrigin::File(path) => write!(f, "the secret file {} ", path.display())?,
        }
        f.write_str(match self.kind {
            SecretErrorKind::NotSet => "is not set: set it to the webhook secret from ROOMZ",
            SecretErrorKind::NotUtf8 => "is not UTF-8: use the webhook secret from ROOMZ, which is text",
            SecretErrorKind::Unreadable => {
                "cannot be read: check that it exists and that this user may read it"
            }
            SecretErrorKind::Empty => "is empty: use the webhook secret from ROOMZ",
            SecretErrorKind::Blank => "is only white space: use the webhook secret from ROOMZ",
            SecretErrorKind::Nul => {
                "contains a NUL byte: remove it, because HMAC treats `k` and `k` followed by NUL as the same key"
            }
            SecretErrorKind::TrailingNewline => {
                "ends with a newline, which would be part of the key: write it with `printf %s` instead of `echo`"
            }
            SecretErrorKind::SurroundingWhitespace => {
                "begins or ends with white space, which would be part of the key: remove it"
            }
            SecretErrorKind::TooLong => "is longer than 64 KiB: use the webhook secret from ROOMZ",
        })
    }
}

impl fmt::Debug for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_message_and_sources(f, self)
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io.as_ref().map(|error| error as _)
    }
}
