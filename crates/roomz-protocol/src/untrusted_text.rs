use std::fmt;

use crate::escape::{write_escaped, write_quoted};

/// Text from the body of a delivery, of any length and with any characters.
///
/// `Display` and `Debug` are safe for logs: they write at most 64 characters and escape `"`, `\` and
/// everything but printable ASCII. [`as_str`](Self::as_str) returns the text unchanged.
///
/// ```
/// use roomz_protocol::PresenceStatus;
///
/// let PresenceStatus::Other(text) = PresenceStatus::new("Away\u{1b}[2J") else { panic!() };
/// assert_eq!(text.as_str(), "Away\u{1b}[2J");
/// assert_eq!(text.to_string(), r"Away\u{1b}[2J");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UntrustedText(Box<str>);

impl UntrustedText {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text unchanged: not escaped and of any length.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UntrustedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0)
    }
}

impl fmt::Debug for UntrustedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, &self.0)
    }
}
