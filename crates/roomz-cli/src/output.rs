//! Standard output and standard error. Colours are removed when the output is not a terminal.

use std::io::{self, ErrorKind, Write as _};

use anstyle::{AnsiColor, Style};
use anyhow::{Result, anyhow};

use crate::escape::escape_to_one_line;

pub(crate) const ERROR_STYLE: Style = AnsiColor::Red.on_default().bold();
pub(crate) const SUCCESS_STYLE: Style = AnsiColor::Green.on_default();
pub(crate) const DIM_STYLE: Style = Style::new().dimmed();

/// Writes to standard output. A closed pipe is not an error.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    match try_print(bytes) {
        // `roomz … | head` must not fail when `head` has read enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow!("cannot write to standard output: {error}; check where it is redirected to"))
        }
        _ => Ok(()),
    }
}

/// Writes to standard output and reports every error, also a closed pipe.
pub(crate) fn try_print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

pub(crate) fn print_line(text: &str) -> Result<()> {
    print(format!("{text}\n").as_bytes())
}

/// Writes one line to standard error, with a coloured prefix.
pub(crate) fn print_error(text: &str) {
    print_to_stderr(ERROR_STYLE, text);
}

/// Writes one line to standard error that is not an error: a warning or a status.
pub(crate) fn print_notice(text: &str) {
    print_to_stderr(Style::new(), text);
}

fn print_to_stderr(style: Style, text: &str) {
    // A failure to write to standard error cannot be reported anywhere.
    let _ = writeln!(anstream::stderr().lock(), "{style}roomz:{style:#} {}", escape_to_one_line(text));
}

/// In milliseconds, or from one second on in seconds.
pub(crate) fn format_duration(micros: u128) -> String {
    #[expect(clippy::cast_precision_loss, reason = "the output is rounded")]
    let milliseconds = micros as f64 / 1_000.0;
    if milliseconds < 1_000.0 {
        format!("{milliseconds:.2} ms")
    } else {
        format!("{:.2} s", milliseconds / 1_000.0)
    }
}
