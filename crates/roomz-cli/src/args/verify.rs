use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::SecretArgs;

const VERIFY_HELP: &str = "\
Examples:
  roomz verify --secret-file secret deliveries.jsonl
  roomz verify --secret-file secret --signature \"$signature\" body.json
  roomz verify --signature \"$signature\" < body.json && echo valid

With --signature, verifies one body. Without it, verifies each delivery that the command listen saved in the file, \
and prints the reason for each one that does not match.

Exits with 0 when every signature matches, or else with 1 and the likely cause. Never prints a correct signature.";

#[derive(Args)]
#[command(after_help = VERIFY_HELP)]
pub(crate) struct VerifyArgs {
    /// File written by `roomz listen --save`, or - for standard input; with --signature, the body [default:
    /// standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Value of the header Roomz-Signature; the file is the body that it signs
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) signature: Option<OsString>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}
