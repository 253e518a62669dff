mod diagnose;
mod json_layout;
mod variants;

use serde_json::json;

use self::diagnose::Diagnosis;
use crate::args::VerifyArgs;
use crate::error::CliError;
use crate::{input, output, secret};

pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let secret = secret::load(&args.secret)?;
    let body = input::read(args.file.as_deref())?;
    let secret_bytes = || secret::read_bytes(&args.secret);
    let result = diagnose::verify(&secret, secret_bytes, &body, args.signature.as_encoded_bytes());
    if args.json {
        let reasons = result.as_ref().err().map_or(&[][..], |diagnosis| &diagnosis.reasons);
        let reasons: Vec<_> =
            reasons.iter().map(|reason| json!({ "reason": reason.name, "detail": reason.text })).collect();
        output::print_line(&json!({ "valid": result.is_ok(), "reasons": reasons }).to_string())?;
    } else if result.is_ok() {
        output::print_line("the signature matches the body")?;
    }
    result.map_err(|diagnosis| CliError::failed(message(&diagnosis)))
}

fn message(diagnosis: &Diagnosis) -> String {
    let reasons: Vec<_> = diagnosis.reasons.iter().map(|reason| reason.text.as_str()).collect();
    reasons.join("; ")
}
