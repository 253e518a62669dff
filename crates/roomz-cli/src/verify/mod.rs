mod body;
mod diagnose;
mod json_layout;
mod saved;
mod variants;

use crate::args::VerifyArgs;
use crate::error::CliError;

pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    match (&args.signature, &args.file) {
        (Some(signature), _) => body::run(args, signature.as_encoded_bytes()),
        (None, Some(file)) => saved::run(args, file),
        (None, None) => Err(CliError::usage(
            "nothing to verify: name a file that `roomz listen --save` wrote, or pass the value of the header \
             Roomz-Signature with --signature",
        )),
    }
}
