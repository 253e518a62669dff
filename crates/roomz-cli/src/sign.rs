use serde_json::json;

use crate::args::SignArgs;
use crate::error::CliError;
use crate::{input, output, secret};

pub(crate) fn run(args: &SignArgs) -> Result<(), CliError> {
    let secret = secret::load(&args.secret)?;
    let signature = secret.sign(&input::read(args.file.as_deref())?).to_base64();
    if args.json {
        output::print_line(&json!({ "signature": signature }).to_string())
    } else {
        output::print_line(&signature)
    }
}
