//! Where the webhook secret comes from.

use std::error::Error as _;
use std::fs;

use roomz_protocol::{Secret, SecretError, SecretErrorKind};
use zeroize::Zeroizing;

use crate::args::SecretArgs;
use crate::failure::Failure;
use crate::out;

/// The environment variable that is read when no flag names a secret.
const VARIABLE: &str = "ROOMZ_WEBHOOK_SECRET";

/// The secret of the flags, else that of the environment.
pub(crate) fn load(args: &SecretArgs) -> Result<Secret, Failure> {
    match optional(args)? {
        Some(secret) => Ok(secret),
        None => Secret::from_env(VARIABLE).map_err(|error| explain(&error)),
    }
}

/// The same, or nothing when there is none anywhere.
pub(crate) fn optional(args: &SecretArgs) -> Result<Option<Secret>, Failure> {
    let secret = if let Some(file) = &args.secret_file {
        Secret::from_file(file)
    } else if let Some(value) = &args.secret {
        out::note(&format!(
            "a secret on the command line is visible in the process list: use --secret-file or {VARIABLE}"
        ));
        Secret::new(value.as_encoded_bytes())
    } else {
        Secret::from_env(VARIABLE)
    };
    match secret {
        Ok(secret) => Ok(Some(secret)),
        Err(error) if error.kind() == SecretErrorKind::NotSet => Ok(None),
        Err(error) => Err(explain(&error)),
    }
}

/// The bytes of the secret, to try what a signer may have made of them. Nothing where they cannot be read again, as
/// from a pipe.
pub(crate) fn bytes(args: &SecretArgs) -> Zeroizing<Vec<u8>> {
    let bytes = if let Some(file) = &args.secret_file {
        fs::read(file).ok()
    } else if let Some(value) = &args.secret {
        Some(value.as_encoded_bytes().to_vec())
    } else {
        std::env::var(VARIABLE).ok().map(String::into_bytes)
    };
    Zeroizing::new(bytes.unwrap_or_default())
}

fn explain(error: &SecretError) -> Failure {
    let more = match (error.kind(), error.source()) {
        (SecretErrorKind::NotSet, _) => ", or name a file with --secret-file".to_owned(),
        (_, Some(source)) => format!(" ({source})"),
        _ => String::new(),
    };
    Failure::failed(format!("{error}{more}"))
}
