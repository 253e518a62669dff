use std::fmt::{self, Write};

/// How many characters of foreign text are displayed.
const SHOWN: usize = 64;

/// Writes text that came from outside so that it fits on one line of a log and cannot control a terminal:
/// everything but printable ASCII is escaped, and the rest is cut off after 64 characters.
pub(crate) fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN {
            return write!(f, "… ({} bytes)", text.len());
        }
        match character {
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
