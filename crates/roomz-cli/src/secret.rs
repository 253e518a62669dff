//! Finds the webhook secret.

use std::fs;

use anyhow::{Context as _, Result};
use roomz_protocol::{Secret, SecretErrorKind};
use zeroize::Zeroizing;

use crate::args::SecretArgs;
use crate::output;

/// The environment variable that holds the secret when no file is named.
const SECRET_VARIABLE: &str = "ROOMZ_WEBHOOK_SECRET";

/// Loads the secret from the options, or else from the environment.
pub(crate) fn load(args: &SecretArgs) -> Result<Secret> {
    load_optional(args)?
        .with_context(|| format!("{SECRET_VARIABLE} is not set: set it, or use --secret-file"))
}

/// Like [`load`], but returns `None` when there is no secret.
pub(crate) fn load_optional(args: &SecretArgs) -> Result<Option<Secret>> {
    let from_env = || Secret::from_env(SECRET_VARIABLE);
    let secret = args.secret_file.as_ref().map_or_else(from_env, Secret::from_file);
    if secret.as_ref().is_ok_and(Secret::has_copied_syntax) {
        output::print_error(
            "the secret looks copied with quotation marks, `NAME=` or `;`: check it at ROOMZ",
        );
    }
    match secret {
        Err(error) if error.kind() == SecretErrorKind::NotSet => Ok(None),
        secret => Ok(Some(secret?)),
    }
}

/// Reads the bytes of the secret again, for the diagnosis of a wrong signature. Empty when the source cannot
/// be read twice: a pipe is empty then, and opening a named one would wait for a writer.
pub(crate) fn read_bytes(args: &SecretArgs) -> Zeroizing<Vec<u8>> {
    let bytes = match &args.secret_file {
        Some(file) => Some(file).filter(|file| file.is_file()).and_then(|file| fs::read(file).ok()),
        None => std::env::var(SECRET_VARIABLE).ok().map(String::into_bytes),
    };
    Zeroizing::new(bytes.unwrap_or_default())
}
