use std::fmt::{self, Write};

/// How many characters of foreign text are displayed.
const SHOWN: usize = 64;

/// UntrustedText from the body of a delivery, as it came: of any length and with any characters.
///
/// `Display` and `Debug` are safe for logs: everything but printable ASCII, and `"` and `\`, is escaped, and the text is
/// cut to 64 characters. [`as_str`](Self::as_str) gives it as it came.
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

    /// The text as it came.
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

/// Writes text that came from outside so that it fits on one line of a log, stays within quotes, and cannot control a
/// terminal.
pub(crate) fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN {
            return write!(f, "… ({} bytes)", text.len());
        }
        match character {
            '"' | '\\' => write!(f, "\\{character}")?,
            ' '..='~' => f.write_char(character)?,
            _ => write!(f, "{}", character.escape_default())?,
        }
    }
    Ok(())
}

/// The same in quotes, for `Debug`.
pub(crate) fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    write_escaped(f, text)?;
    f.write_char('"')
}
