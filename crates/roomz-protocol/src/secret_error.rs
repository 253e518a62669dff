use std::io;

/// The error of a secret that cannot be read or used. It contains no part of the secret.
///
/// `Debug` prints the message of `Display` and then its source, so that an error returned from `main` is
/// readable:
///
/// ```
/// use roomz_protocol::Secret;
///
/// let error = Secret::new("").unwrap_err();
/// assert_eq!(format!("{error:?}"), "the secret is empty: use the webhook secret from ROOMZ");
/// ```
#[derive(thiserror::Error)]
#[error("{message}")]
pub struct SecretError {
    pub(crate) kind: SecretErrorKind,
    pub(crate) message: String,
    pub(crate) source: Option<io::Error>,
}

impl SecretError {
    /// `subject` is what the message is about, such as `the environment variable WEBHOOK_SECRET`.
    pub(crate) fn new(kind: SecretErrorKind, subject: &str, problem: &str) -> Self {
        Self { kind, message: format!("{subject} {problem}"), source: None }
    }

    /// Returns what is wrong with the secret.
    #[must_use]
    pub const fn kind(&self) -> SecretErrorKind {
        self.kind
    }
}

/// What is wrong with a secret. The error's message has the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretErrorKind {
    /// The environment variable is not set.
    NotSet,
    /// The file cannot be read. The error's `source()` is the I/O error.
    Unreadable,
    /// The text cannot be a secret. It is empty, blank, not UTF-8, UTF-16 or longer than 64 KiB, contains a
    /// NUL byte or an invisible character, or begins or ends with white space. Or the list of secrets is
    /// empty.
    Invalid,
}
