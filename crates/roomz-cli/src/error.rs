use std::fmt::Display;

/// An invalid command line, for which clap has no rule: exit code 2, as for clap's own errors.
pub(crate) fn usage(message: impl Display) -> anyhow::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, message).into()
}
