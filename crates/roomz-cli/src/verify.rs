use serde_json::json;

use crate::args::VerifyArgs;
use crate::diagnose::{self, Finding};
use crate::failure::Failure;
use crate::{input, out, secret};

pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let secret = secret::load(&args.secret)?;
    let body = input::read(args.file.as_deref())?;
    let finding =
        diagnose::verify(&secret, || secret::bytes(&args.secret), &body, args.signature.as_encoded_bytes());
    if args.json {
        let reasons = finding.as_ref().err().map_or(&[][..], |finding| &finding.reasons);
        let reasons: Vec<_> =
            reasons.iter().map(|reason| json!({ "reason": reason.name, "detail": reason.text })).collect();
        out::line(&json!({ "valid": finding.is_ok(), "reasons": reasons }).to_string())?;
    } else if finding.is_ok() {
        out::line("the signature is that of the body")?;
    }
    finding.map_err(|finding| Failure::failed(text(&finding)))
}

fn text(finding: &Finding) -> String {
    let reasons: Vec<_> = finding.reasons.iter().map(|reason| reason.text.as_str()).collect();
    reasons.join("; ")
}
