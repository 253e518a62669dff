//! Exit codes. Any other error ends the program with code 1.

use std::fmt;

/// An error with an exit code of its own.
#[derive(Debug)]
struct ErrorWithCode(String, u8);

/// Invalid command line: exit code 2.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    ErrorWithCode(message.into(), 2).into()
}

/// Interrupted by Ctrl-C: exit code 130, the shell convention for SIGINT.
pub(crate) fn interrupted(message: impl Into<String>) -> anyhow::Error {
    ErrorWithCode(message.into(), 130).into()
}

pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<ErrorWithCode>().map_or(1, |error| error.1)
}

impl fmt::Display for ErrorWithCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ErrorWithCode {}
