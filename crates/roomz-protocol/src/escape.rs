//! Escapes text from a delivery before it is displayed.

use std::fmt::{self, Write as _};

/// The most characters of an untrusted text that `Display` and `Debug` write.
const MAX_DISPLAY_CHARS: usize = 64;

/// Writes at most 64 characters, with `"`, `\` and everything but printable ASCII escaped.
///
/// The output stays on one line, stays within quotes, and cannot control a terminal.
pub(crate) fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (index, character) in text.chars().enumerate() {
        if index == MAX_DISPLAY_CHARS {
            return write!(f, "… ({} bytes)", text.len());
        }
        match character {
            // It needs no escape within double quotes.
            '\'' => f.write_char(character)?,
            _ => write!(f, "{}", character.escape_default())?,
        }
    }
    Ok(())
}

macro_rules! escape_text {
    ($type:ty) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                crate::escape::write_escaped(f, self.as_str())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "\"{self}\"")
            }
        }
    };
}
pub(crate) use escape_text;
