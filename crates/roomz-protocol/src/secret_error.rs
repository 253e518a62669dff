use std::{fmt, io};

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
pub struct SecretError {
    pub(crate) kind: SecretErrorKind,
    /// What the message is about, such as `the environment variable WEBHOOK_SECRET`.
    pub(crate) subject: String,
    pub(crate) source: Option<io::Error>,
}

impl SecretError {
    pub(crate) const fn new(kind: SecretErrorKind, subject: String) -> Self {
        Self { kind, subject, source: None }
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
    /// The secret contains a byte order mark or another invisible character, such as U+200B, which a copy
    /// from a web page or an editor adds.
    Invisible,
    /// The bytes are UTF-16, like a file that PowerShell 5 or Notepad wrote.
    Utf16,
    /// The secret is longer than 64 KiB.
    TooLong,
    /// The list of secrets is empty.
    NoSecret,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.kind {
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
            SecretErrorKind::Invisible => {
                "contains an invisible character, such as a byte order mark (U+FEFF) or U+200B, which would be \
                 part of the key: type the secret again, or save the file as UTF-8 without a byte order mark"
            }
            SecretErrorKind::Utf16 => "is UTF-16: save it as UTF-8 without a byte order mark",
            SecretErrorKind::TooLong => "is longer than 64 KiB: use the webhook secret from ROOMZ",
            SecretErrorKind::NoSecret => "is empty: give at least one webhook secret from ROOMZ",
        };
        write!(f, "{} {problem}", self.subject)
    }
}

impl std::error::Error for SecretError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
