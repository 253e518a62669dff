use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Options of the commands that connect to a receiver: `send`, `replay` and `listen --forward`.
#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// PEM file with certificates to trust, of authorities or of the receiver itself, besides those of the system
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
}
