use serde_json::json;

use crate::args::SignArgs;
use crate::failure::Failure;
use crate::{input, out, secret};

pub(crate) fn run(args: &SignArgs) -> Result<(), Failure> {
    let secret = secret::load(&args.secret)?;
    let signature = secret.sign(&input::read(args.file.as_deref())?).to_base64();
    if args.json { out::line(&json!({ "signature": signature }).to_string()) } else { out::line(&signature) }
}
