use std::borrow::Cow;

use crate::escape::escape_text;

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
pub struct UntrustedText(Cow<'static, str>);

impl UntrustedText {
    pub(crate) fn new(text: &str) -> Self {
        // The published example has this `apiVersion`, so it is not allocated.
        if text == "1.0" { Self("1.0".into()) } else { Self(text.to_owned().into()) }
    }

    /// Returns the text unchanged: not escaped and of any length.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

escape_text!(UntrustedText);
