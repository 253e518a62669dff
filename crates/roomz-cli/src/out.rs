use std::io::{self, ErrorKind, Write as _};

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;
use crate::text::one_line;

/// How failures begin.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What explains the rest.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Writes to standard output; colours reach terminals only.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    match try_write(bytes) {
        // Who reads the output has seen enough: `roomz … | head` is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            Err(Failure::failed(format!("cannot write to standard output: {error}; see where it is sent to")))
        }
        Ok(()) => Ok(()),
    }
}

pub(crate) fn try_write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// One line on standard error. What cannot be written there cannot be told anywhere.
pub(crate) fn complain(text: &str) {
    say(BAD, text);
}

/// One line on standard error that is no failure.
pub(crate) fn note(text: &str) {
    say(Style::new(), text);
}

fn say(style: Style, text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{style}roomz:{style:#} {}", one_line(text));
}
