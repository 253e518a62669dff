use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::args::SecretArgs;
use crate::{input, output, secret};

const SIGN_HELP: &str = "\
Examples:
  roomz sign --secret-file secret body.json
  signature=$(roomz sign body.json)
  curl --data-binary @body.json -H \"Roomz-Signature: $signature\" \"$url\"";

#[derive(Args)]
#[command(after_help = SIGN_HELP)]
pub(crate) struct SignArgs {
    /// File that contains the body; a byte order mark is left out [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) secret: SecretArgs,
}

pub(crate) fn run(args: &SignArgs) -> anyhow::Result<()> {
    let secret = secret::load(&args.secret)?;
    output::print_line(&secret.sign(&input::read_body(args.file.as_deref())?).to_base64())
}
