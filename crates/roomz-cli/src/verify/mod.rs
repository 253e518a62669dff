mod diagnose;
mod json_print;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail, ensure};
use clap::{Args, ValueHint};
use roomz_protocol::Event;

use crate::args::SecretArgs;
use crate::escape::escape;
use crate::output::{ERROR_STYLE, SUCCESS_STYLE};
use crate::saved::SavedFile;
use crate::signature::only_signature;
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
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "signature")]
    pub(super) file: Option<PathBuf>,
    /// Value of the header Roomz-Signature; the file is the body that it signs
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) signature: Option<OsString>,
    #[command(flatten)]
    pub(super) secret: SecretArgs,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<()> {
    let secret = secret::load(&args.secret)?;
    let secret_bytes = secret::read_bytes(&args.secret);
    let verify = |body: &[u8], signature: &[u8]| diagnose::verify(&secret, &secret_bytes, body, signature);
    match (&args.signature, &args.file) {
        (None, Some(file)) => verify_saved(file, verify),
        (signature, file) => {
            let signature = signature.as_ref().map(|signature| signature.as_encoded_bytes());
            let body = input::read(file.as_deref())?;
            verify(&body, signature.unwrap_or_default()).map_err(Error::msg)?;
            output::print_line("the signature matches the body")
        }
    }
}

/// Verifies each delivery in a file that `listen --save` wrote.
fn verify_saved(file: &Path, verify: impl Fn(&[u8], &[u8]) -> Result<(), String>) -> Result<()> {
    let SavedFile { name, lines } = SavedFile::read(file)?;
    if let Some((number, Err(problem))) = lines.first()
        && lines.iter().all(|(_, delivery)| delivery.is_err())
    {
        bail!("{name} contains no saved deliveries (line {number}: {problem}); for a body, add --signature");
    }
    let mut failed = 0;
    for (number, delivery) in &lines {
        let what = match delivery.as_ref().map(|delivery| Event::parse(&delivery.body)) {
            Ok(Ok(event)) => format!("event {}", event.id),
            Ok(Err(_)) => "not an event".to_owned(),
            Err(_) => "not a saved delivery".to_owned(),
        };
        let verified = delivery.as_ref().map_err(String::clone).and_then(|delivery| {
            let signature = only_signature(&delivery.headers).map_err(|rejection| {
                format!("{rejection}: a proxy changed the headers, or ROOMZ is not the sender")
            });
            verify(&delivery.body, signature?)
        });
        failed += usize::from(verified.is_err());
        let result = match verified {
            Ok(()) => format!("{SUCCESS_STYLE}verified{SUCCESS_STYLE:#}"),
            Err(problem) => format!("{ERROR_STYLE}NOT VERIFIED{ERROR_STYLE:#}: {}", escape(&problem)),
        };
        output::print_line(&format!("line {number}, {what}: {result}"))?;
    }
    let all = lines.len();
    output::print_line(&format!("{} of {all} deliveries verified", all - failed))?;
    ensure!(failed == 0, "{failed} of {all} deliveries could not be verified; each line says why");
    Ok(())
}
