//! Standard output and standard error. Colours are removed when the output is not a terminal.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write as _};

use anstyle::{AnsiColor, Style};
use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::escape::{escape, escape_json};

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

/// Prints the members of an object: as JSON, or one value per line, and those of an object after their sum.
pub(crate) fn print_values(values: &Value, as_json: bool) -> Result<()> {
    if as_json {
        return print_line(&escape_json(&values.to_string()));
    }
    let mut text = String::new();
    write_values(&mut text, values, 0);
    print(text.as_bytes())
}

fn write_values(text: &mut String, values: &Value, indent: usize) {
    for (name, value) in values.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Object(members) => {
                let sum: Option<u64> = members.values().map(Value::as_u64).sum();
                sum.map_or(String::new(), |sum| sum.to_string())
            }
            Value::Null => "none".to_owned(),
            Value::String(text) => escape(text),
            Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
            other => other.to_string(),
        };
        let (name, width) = (escape(name), 24 - indent);
        let _ = writeln!(text, "{:indent$}{name:<width$}  {shown}", "");
        write_values(text, value, indent + 2);
    }
}

/// Writes one line to standard error: an error, a warning or a status. It may contain file or host names.
pub(crate) fn print_error(text: &str) {
    let text = escape(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    // A failure to write to standard error cannot be reported anywhere.
    let _ = writeln!(anstream::stderr().lock(), "{ERROR_STYLE}roomz:{ERROR_STYLE:#} {text}");
}
