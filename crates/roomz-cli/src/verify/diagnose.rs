//! Verifies a signature and finds out which common mistake explains a wrong one.
//!
//! For each mistake, the HMAC that the signer would have computed is compared with the given one in constant
//! time. Only the name of the mistake is reported; a computed HMAC never leaves this module.

use std::iter::once;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use roomz_protocol::{Secret, Secrets, Signature};
use sha2::{Digest as _, Sha256, Sha512};

use super::variants::{find_body, secret_variants};

/// So many secrets, the most likely ones, are also tried with each other body.
const COMBINED_KEYS: usize = 20;

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
    let core = signature.trim_ascii().rsplit(|byte| b" :\"'".contains(byte)).find(|part| !part.is_empty())?;
    let core = core.strip_prefix(b"sha512=").or_else(|| core.strip_prefix(b"sha256=")).unwrap_or(core);
    if let Ok(bytes) = hex::decode(core) {
        let text = format!("the signature is hexadecimal ({} characters): ROOMZ sends base64", core.len());
        return Some((text, bytes));
    }
    let Ok(bytes) = GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(core) else {
        // Any word is valid URL-safe base64, so only the lengths of common hashes are worth reporting.
        let bytes = GeneralPurpose::new(&alphabet::URL_SAFE, lenient).decode(core).ok()?;
        let padding = if core.ends_with(b"=") { "" } else { ", unpadded" };
        let text = format!(
            "the signature is URL-safe base64 (`-` and `_`{padding}): use the standard alphabet with `+` and `/`"
        );
        return [32, 48, 64].contains(&bytes.len()).then_some((text, bytes));
    };
    if let Some(inner) = hex::decode(&bytes).ok().filter(|inner| !inner.is_empty()) {
        let text = "the signature is base64 of hexadecimal text: encode the bytes of the HMAC instead";
        return Some((text.to_owned(), inner));
    }
    let text = match bytes.len() {
        _ if core.len() != signature.len() => {
            "the signature has extra characters around it (white space, quotes, a prefix): use only the base64"
        }
        64 if core.len() < 88 => "the signature has no padding: base64 of 64 bytes ends with `==`",
        64 => {
            "the last character before the padding has unused bits that are not zero: the signature was modified"
        }
        length => {
            let characters = core.len();
            let text = format!(
                "the signature has {length} bytes instead of the 64 of an HMAC-SHA512 ({characters} characters instead of 88)"
            );
            return Some((text, bytes));
        }
    };
    Some((text.to_owned(), bytes))
}

/// Finds the mistake that produces the given HMAC.
fn explain(key: &[u8], body: &[u8], given: &[u8]) -> Option<String> {
    let hash = match given.len() {
        _ if is_hmac::<Hmac<Sha512>>(key, body, given) => {
            return Some("the HMAC is correct: only its encoding is wrong".to_owned());
        }
        64 => return Some(explain_sha512(key, body, given)),
        32 if is_hmac::<Hmac<Sha256>>(key, body, given) => {
            return Some("it was computed with SHA-256: ROOMZ signs with HMAC-SHA512".to_owned());
        }
        20 => "SHA-1",
        32 => "SHA-256",
        48 => "SHA-384",
        _ => return None,
    };
    Some(format!("{} bytes is the length of {hash}: ROOMZ signs with HMAC-SHA512", given.len()))
}

fn explain_sha512(key: &[u8], body: &[u8], given: &[u8]) -> String {
    if is_hmac::<Hmac<Sha512>>(body, key, given) {
        return "secret and body were swapped: the secret is the key of the HMAC".to_owned();
    }
    if Sha512::digest(body).as_slice() == given || Sha512::digest([key, body].concat()).as_slice() == given {
        return "it is a plain SHA-512, not an HMAC-SHA512".to_owned();
    }
    let secrets = secret_variants(key);
    if let Some((text, _)) = secrets.iter().find(|(_, key)| is_hmac::<Hmac<Sha512>>(key, body, given)) {
        return text.clone();
    }
    let likely = secrets.iter().take(COMBINED_KEYS).map(|(text, key)| (text.as_str(), key.as_slice()));
    let signer = |body: &[u8]| {
        let mut keys = once(("", key)).chain(likely.clone());
        keys.find_map(|(text, key)| is_hmac::<Hmac<Sha512>>(key, body, given).then_some(text))
    };
    match find_body(body, signer) {
        Some((text, "")) => text,
        Some((text, secret)) => format!("{secret}, and {text}"),
        None => "the signature does not match the body, and no common mistake explains it: compare the secret with the one \
                 in ROOMZ, and use the raw body, before any code parses or changes it"
            .to_owned(),
    }
}

fn is_hmac<M: Mac + KeyInit>(key: &[u8], body: &[u8], given: &[u8]) -> bool {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return false };
    mac.update(body);
    mac.verify_slice(given).is_ok()
}
