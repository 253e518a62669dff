use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

// No `Debug` on types that hold a secret.
#[derive(Args)]
pub(crate) struct SecretArgs {
    /// File that contains only the webhook secret, without a newline at the end
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) secret_file: Option<PathBuf>,
    /// The webhook secret; visible in the process list, so prefer --secret-file or ROOMZ_WEBHOOK_SECRET
    #[arg(long, value_name = "VALUE", conflicts_with = "secret_file", allow_hyphen_values = true)]
    pub(crate) secret: Option<OsString>,
}
