//! A readable `Debug` for the errors that users return from `main`.

use std::error::Error;
use std::fmt;

/// Writes the error's message and the messages of its sources.
///
/// `main` prints the `Debug` of the error it returns. A derived `Debug` would print field names instead of the message.
pub(crate) fn write_message_and_sources(f: &mut fmt::Formatter<'_>, error: &dyn Error) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(cause) = source {
        write!(f, ": {cause}")?;
        source = cause.source();
    }
    Ok(())
}
