use std::path::PathBuf;
use std::{fmt, io};

/// A secret was refused or could not be read. It holds nothing of the secret.
#[derive(Debug)]
pub struct SecretError {
    kind: SecretErrorKind,
    source: Source,
    io: Option<io::Error>,
}

/// Where a secret was read from, to say which of several is meant.
#[derive(Debug)]
pub(crate) enum Source {
    Value,
    Env(String),
    File(PathBuf),
}

impl SecretError {
    pub(crate) const fn new(kind: SecretErrorKind, source: Source) -> Self {
        Self { kind, source, io: None }
    }

    pub(crate) const fn unreadable(path: PathBuf, error: io::Error) -> Self {
        Self { kind: SecretErrorKind::Unreadable, source: Source::File(path), io: Some(error) }
    }

    /// What was wrong.
    #[must_use]
    pub const fn kind(&self) -> SecretErrorKind {
        self.kind
    }
}

/// What was wrong with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretErrorKind {
    /// The environment variable is not set.
    NotSet,
    /// The environment variable is not UTF-8.
    NotUtf8,
    /// The file cannot be read; the error's `source()` says why.
    Unreadable,
    /// The secret has no bytes.
    Empty,
    /// The secret is nothing but white space.
    Blank,
    /// The secret holds a NUL byte.
    Nul,
    /// The secret ends with a newline, as a file written with `echo` does.
    TrailingNewline,
    /// The secret begins or ends with other white space.
    SurroundingWhitespace,
    /// The secret is longer than 64 KiB.
    TooLong,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Value => f.write_str("the secret ")?,
            Source::Env(variable) => write!(f, "the environment variable {variable} ")?,
            Source::File(path) => write!(f, "the secret file {} ", path.display())?,
        }
        f.write_str(match self.kind {
            SecretErrorKind::NotSet => "is not set: set it to the webhook secret from ROOMZ",
            SecretErrorKind::NotUtf8 => "is not UTF-8: a webhook secret from ROOMZ is text",
            SecretErrorKind::Unreadable => "cannot be read: see that it exists and may be read by this user",
            SecretErrorKind::Empty => "is empty: put the webhook secret from ROOMZ there",
            SecretErrorKind::Blank => "is only white space: put the webhook secret from ROOMZ there",
            SecretErrorKind::Nul => "holds a NUL byte, which makes no difference to the key: remove it",
            SecretErrorKind::TrailingNewline => {
                "ends with a newline, which would be part of the key: write it with `printf %s` instead of `echo`"
            }
            SecretErrorKind::SurroundingWhitespace => {
                "begins or ends with white space, which would be part of the key: remove it"
            }
            SecretErrorKind::TooLong => "is longer than 64 KiB: that is not a webhook secret",
        })
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.io.as_ref().map(|error| error as _)
    }
}
