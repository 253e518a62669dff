mod diagnose;
mod json_print;
mod saved;
mod variants;

use anyhow::{Error, Result};

use crate::args::VerifyArgs;
use crate::error::usage;
use crate::{input, output, secret};

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
