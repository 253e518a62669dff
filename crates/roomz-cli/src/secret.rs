//! Finds the webhook secret.

use std::fs;

use anyhow::{Result, anyhow};
use roomz_protocol::{Secret, SecretErrorKind};
use zeroize::Zeroizing;

use crate::args::SecretArgs;
use crate::output;

/// The environment variable that holds the secret when no option names one.
const SECRET_VARIABLE: &str = "ROOMZ_WEBHOOK_SECRET";

/// Loads the secret from the options, or else from the environment.
pub(crate) fn load(args: &SecretArgs) -> Result<Secret> {
    load_optional(args)?.ok_or_else(|| {
        anyhow!(
            "the environment variable {SECRET_VARIABLE} is not set: set it to the webhook secret, or name a file with \
             --secret-file"
        )
    })
}

/// Like [`load`], but returns `None` when there is no secret.
pub(crate) fn load_optional(args: &SecretArgs) -> Result<Option<Secret>> {
    let secret = if let Some(file) = &args.secret_file {
        Secret::from_file(file)
    } else if let Some(value) = &args.secret {
        output::print_notice(&format!(
            "--secret is visible in the process list: use --secret-file or {SECRET_VARIABLE}"
        ));
        Secret::new(value.as_encoded_bytes())
    } else {
        Secret::from_env(SECRET_VARIABLE)
    };
    if secret.as_ref().is_ok_and(Secret::has_copied_syntax) {
        output::print_notice(
            "the secret looks copied with quotation marks, `NAME=` in front or `;` behind: if ROOMZ shows it without, \
             remove them",
        );
    }
    match secret {
        Err(error) if error.kind() == SecretErrorKind::NotSet => Ok(None),
        secret => Ok(Some(secret?)),
    }
}

/// Reads the bytes of the secret again, for the diagnosis of a wrong signature. Empty when the source cannot
/// be read twice, such as a pipe.
pub(crate) fn read_bytes(args: &SecretArgs) -> Zeroizing<Vec<u8>> {
    let bytes = if let Some(file) = &args.secret_file {
        fs::read(file).ok()
    } else if let Some(value) = &args.secret {
        Some(value.as_encoded_bytes().to_vec())
    } else {
        std::env::var(SECRET_VARIABLE).ok().map(String::into_bytes)
    };
    Zeroizing::new(bytes.unwrap_or_default())
}
