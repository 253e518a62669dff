use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::SecretArgs;

const SIGN_HELP: &str = "\
Examples:
  roomz sign --secret-file secret body.json
  signature=$(roomz sign body.json)
  curl --data-binary @body.json -H \"Roomz-Signature: $signature\" \"$url\"

With curl, use --data-binary: it sends the bytes as they are.";

#[derive(Args)]
#[command(after_help = SIGN_HELP)]
pub(crate) struct SignArgs {
    /// File that contains the body; a byte order mark is left out [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}
