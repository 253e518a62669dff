mod diagnose;
mod json_print;
mod saved;
mod variants;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::{Args, ValueHint};

use crate::args::SecretArgs;
use crate::error::usage;
use crate::{input, output, secret};

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
    pub(super) file: Option<PathBuf>,
    /// Value of the header Roomz-Signature; the file is the body that it signs
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) signature: Option<OsString>,
    #[command(flatten)]
    pub(super) secret: SecretArgs,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    if args.signature.is_none() && args.file.is_none() {
        return Err(usage(
            "nothing to verify: name a file that `roomz listen --save` wrote, or pass the value of the header \
             Roomz-Signature with --signature",
        ));
    }
    let secret = secret::load(&args.secret)?;
    let secret_bytes = secret::read_bytes(&args.secret);
    match (&args.signature, &args.file) {
        (None, Some(file)) => saved::verify(file, &secret, &secret_bytes),
        (signature, file) => {
            let body = input::read(file.as_deref())?;
            let signature = signature.as_ref().map(|signature| signature.as_encoded_bytes());
            diagnose::verify(&secret, &secret_bytes, &body, signature.unwrap_or_default())
                .map_err(Error::msg)?;
            output::print_line("the signature matches the body")
        }
    }
}
