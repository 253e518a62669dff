//! Verifies a signature and finds out which common mistake explains a wrong one.
//!
//! For each mistake, the HMAC that the signer would have computed is compared with the given one in constant
//! time. Only the name of the mistake is reported; a computed HMAC never leaves this module.

use std::cell::Cell;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use roomz_protocol::{Secret, Secrets, Signature};
use sha2::{Digest as _, Sha256, Sha512};

use super::variants::{body_variants, secret_variants};

/// So many secrets, the most likely ones, are also tried with each other body.
const COMBINED_KEYS: usize = 16;

/// Verifies as a receiver does. The error says what is wrong with the encoding, then with the content, and
/// what to do.
pub(super) fn verify(
    secret: &Secret,
    secret_bytes: &[u8],
    body: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let (encoding, given) = match Signature::from_base64(signature) {
        Ok(parsed) if Secrets::from(secret.clone()).verify(body, &parsed).is_ok() => return Ok(()),
        Ok(_) => (None, STANDARD.decode(signature).ok()),
        Err(error) => match decode_leniently(signature) {
            Some((problem, bytes)) => (Some(problem), Some(bytes)),
            None => (Some(error.to_string()), None),
        },
    };
    let content = given.and_then(|given| explain(secret_bytes, body, &given));
    Err([encoding, content].into_iter().flatten().collect::<Vec<_>>().join("; "))
}

/// Decodes encodings that a receiver rejects, and names the difference.
fn decode_leniently(signature: &[u8]) -> Option<(String, Vec<u8>)> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let standard = GeneralPurpose::new(&alphabet::STANDARD, lenient);
    let url_safe = GeneralPurpose::new(&alphabet::URL_SAFE, lenient);
    let trimmed = signature.trim_ascii();
    let core = trimmed.rsplit(|byte| b" :\"'".contains(byte)).find(|part| !part.is_empty())?;
    let core = core.strip_prefix(b"sha512=").or_else(|| core.strip_prefix(b"sha256=")).unwrap_or(core);
    if let Ok(bytes) = hex::decode(core) {
        let text = format!("the signature is hexadecimal ({} characters): ROOMZ sends base64", core.len());
        return Some((text, bytes));
    }
    if let Ok(bytes) = standard.decode(core) {
        return Some(explain_standard_base64(signature, core, bytes));
    }
    // Any word is valid URL-safe base64, so only the lengths of common hashes are worth reporting.
    let bytes = url_safe.decode(core).ok().filter(|bytes| [32, 48, 64].contains(&bytes.len()))?;
    let padding = if core.ends_with(b"=") { "" } else { ", unpadded" };
    let text = format!(
        "the signature is URL-safe base64 (`-` and `_`{padding}): use the standard alphabet with `+` and `/`"
    );
    Some((text, bytes))
}

/// Names what is wrong with a signature that contains standard base64.
fn explain_standard_base64(signature: &[u8], core: &[u8], bytes: Vec<u8>) -> (String, Vec<u8>) {
    if let Some(inner) = hex::decode(&bytes).ok().filter(|inner| !inner.is_empty()) {
        let text = "the signature is base64 of hexadecimal text: encode the bytes of the HMAC instead";
        return (text.to_owned(), inner);
    }
    let text = if core.len() != signature.len() {
        "the signature has extra characters around it (white space, quotes, a prefix): use only the base64"
    } else if bytes.len() != 64 {
        let text = format!(
            "the signature has {} bytes instead of the 64 of an HMAC-SHA512 ({} characters instead of 88)",
            bytes.len(),
            core.len()
        );
        return (text, bytes);
    } else if core.len() < 88 {
        "the signature has no padding: base64 of 64 bytes ends with `==`"
    } else {
        "the last character before the padding has unused bits that are not zero: the signature was modified"
    };
    (text.to_owned(), bytes)
}

/// Finds the mistake that produces the given HMAC.
fn explain(key: &[u8], body: &[u8], given: &[u8]) -> Option<String> {
    if is_hmac::<Hmac<Sha512>>(key, body, given) {
        return Some("the HMAC is correct: only its encoding is wrong".to_owned());
    }
    match given.len() {
        64 => Some(explain_sha512(key, body, given)),
        32 if is_hmac::<Hmac<Sha256>>(key, body, given) => {
            Some("it was computed with SHA-256: ROOMZ signs with HMAC-SHA512".to_owned())
        }
        20 => Some("20 bytes is the length of SHA-1: ROOMZ signs with HMAC-SHA512".to_owned()),
        32 => Some("32 bytes is the length of SHA-256: ROOMZ signs with HMAC-SHA512".to_owned()),
        48 => Some("48 bytes is the length of SHA-384: ROOMZ signs with HMAC-SHA512".to_owned()),
        _ => None,
    }
}

fn explain_sha512(key: &[u8], body: &[u8], given: &[u8]) -> String {
    if is_hmac::<Hmac<Sha512>>(body, key, given) {
        return "secret and body were swapped: the secret is the key of the HMAC".to_owned();
    }
    if Sha512::digest(body).as_slice() == given || Sha512::digest([key, body].concat()).as_slice() == given {
        return "it is a plain SHA-512, not an HMAC-SHA512".to_owned();
    }
    let keys = secret_variants(key);
    let is_signed_with = |key: &[u8], body: &[u8]| is_hmac::<Hmac<Sha512>>(key, body, given);
    if let Some(variant) = keys.iter().find(|key| is_signed_with(&key.bytes, body)) {
        return variant.text.to_string();
    }
    if let Some(variant) = body_variants(body, &|bytes| is_signed_with(key, bytes)).next() {
        return variant.text.into_owned();
    }
    let used_key = Cell::new(None);
    let is_signed = |bytes: &[u8]| {
        used_key.set(keys.iter().take(COMBINED_KEYS).find(|key| is_signed_with(&key.bytes, bytes)));
        used_key.get().is_some()
    };
    if let (Some(variant), Some(key)) = (body_variants(body, &is_signed).next(), used_key.get()) {
        return format!("{}, and {}", key.text, variant.text);
    }
    "the signature does not match the body, and no common mistake explains it: compare the secret with the one in ROOMZ, \
     and use the raw body, before any code parses or changes it"
        .to_owned()
}

fn is_hmac<M: Mac + KeyInit>(key: &[u8], body: &[u8], given: &[u8]) -> bool {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return false };
    mac.update(body);
    mac.verify_slice(given).is_ok()
}
