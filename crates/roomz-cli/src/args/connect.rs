use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::values::parse_timeout;

/// Options of the commands that connect to a receiver: `send`, `replay` and `listen --forward`.
#[derive(Args)]
pub(crate) struct ConnectArgs {
    /// Header to send, also instead of one that roomz sets, such as Host; repeat the option for several
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// PEM file with certificates to trust besides those of the system: of authorities, or the
    /// self-signed one of the receiver
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) cacert: Option<PathBuf>,
    /// Timeout of one attempt, from connecting to the end of the response; ROOMZ currently waits 30 s
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, default_value = "30", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
}
