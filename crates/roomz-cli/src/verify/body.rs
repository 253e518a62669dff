//! Verifies one body with a signature from the command line.

use serde_json::json;

use super::diagnose;
use crate::args::VerifyArgs;
use crate::error::CliError;
use crate::{input, output, secret};

pub(super) fn run(args: &VerifyArgs, signature: &[u8]) -> Result<(), CliError> {
    let secret = secret::load(&args.secret)?;
    let body = input::read(args.file.as_deref())?;
    let result = diagnose::verify(&secret, || secret::read_bytes(&args.secret), &body, signature);
    if args.json {
        let reasons = result.as_ref().map_or_else(diagnose::Diagnosis::json, |()| json!([]));
        output::print_line(&json!({ "valid": result.is_ok(), "reasons": reasons }).to_string())?;
    } else if result.is_ok() {
        output::print_line("the signature matches the body")?;
    }
    result.map_err(|diagnosis| CliError::failed(diagnosis.message()))
}
