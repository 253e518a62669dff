//! Whether a signature is that of a body, and if not, which of the usual mistakes explains it.
//!
//! Each mistake is tried: what the signer would have computed is compared with what was given, in constant time. What is
//! said is the mistake; a computed value never leaves this file.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use roomz_protocol::{Secret, Secrets, Signature};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use crate::json_forms::{Layout, Strings, reformat, sorted};

/// No delivery is longer, and hundreds of forms of a longer one would take their time.
const LONGEST: usize = 1024 * 1024;

/// Why a signature was not accepted.
#[derive(Debug)]
pub(crate) struct Finding {
    /// The form first, then the content.
    pub(crate) reasons: Vec<Reason>,
}

/// One mistake: a stable name, and what to do about it.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

impl Reason {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }
}

/// Verifies as a receiver does, and explains only afterwards.
pub(crate) fn verify(
    secret: &Secret,
    secret_bytes: impl FnOnce() -> Zeroizing<Vec<u8>>,
    body: &[u8],
    signature: &[u8],
) -> Result<(), Finding> {
    let mut reasons = Vec::new();
    let given = match Signature::from_base64(signature) {
        Ok(parsed) if Secrets::from(secret.clone()).verify(body, &parsed).is_ok() => return Ok(()),
        Ok(_) => STANDARD.decode(signature).ok(),
        Err(error) => match read_leniently(signature) {
            Some((reason, bytes)) => {
                reasons.push(reason);
                Some(bytes)
            }
            None => {
                reasons.push(Reason::new("malformed", error.to_string()));
                None
            }
        },
    };
    if let Some(given) = given {
        reasons.extend(explain(&secret_bytes(), body, &given));
    }
    Err(Finding { reasons })
}

/// Reads spellings that a receiver refuses.
fn read_leniently(text: &[u8]) -> Option<(Reason, Vec<u8>)> {
    let forgiving = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let (standard, url) = (
        GeneralPurpose::new(&alphabet::STANDARD, forgiving),
        GeneralPurpose::new(&alphabet::URL_SAFE, forgiving),
    );
    let trimmed = text.trim_ascii();
    let bare = trimmed.rsplit(|byte| b" :\"'".contains(byte)).find(|part| !part.is_empty())?;
    let bare = bare.strip_prefix(b"sha512=").or_else(|| bare.strip_prefix(b"sha256=")).unwrap_or(bare);
    let (reason, bytes) = if let Some(bytes) = from_hex(bare) {
        let text = format!("the signature is hexadecimal ({} characters): ROOMZ sends base64", bare.len());
        (Reason::new("hex", text), bytes)
    } else if let Ok(bytes) = standard.decode(bare) {
        if let Some(inner) = from_hex(&bytes) {
            let text =
                "the signature is the base64 of hexadecimal text: encode the bytes of the HMAC instead";
            (Reason::new("base64-of-hex", text), inner)
        } else if bare.len() != text.len() {
            let text = "the signature has something around it (white space, quotes, a prefix): give the base64 alone";
            (Reason::new("surrounded", text), bytes)
        } else if bytes.len() != 64 {
            let text = format!(
                "the signature is {} bytes long instead of the 64 of an HMAC-SHA512 ({} characters instead of 88)",
                bytes.len(),
                bare.len()
            );
            (Reason::new("length", text), bytes)
        } else if bare.len() < 88 {
            (
                Reason::new("unpadded", "the signature lacks its padding: base64 of 64 bytes ends with `==`"),
                bytes,
            )
        } else {
            let text = "the last character before the padding has bits that stand for nothing: the signature was altered";
            (Reason::new("altered", text), bytes)
        }
    } else {
        // Any word could be URL-safe base64; of another length it is not worth naming.
        let bytes = url.decode(bare).ok().filter(|bytes| [32, 48, 64].contains(&bytes.len()))?;
        let padded = if bare.ends_with(b"=") { "" } else { ", unpadded" };
        let text = format!(
            "the signature is URL-safe base64 (`-` and `_`{padded}): use the standard alphabet, `+` and `/`"
        );
        (Reason::new("base64url", text), bytes)
    };
    Some((reason, bytes))
}

/// Which mistake leads to these bytes.
fn explain(key: &[u8], body: &[u8], given: &[u8]) -> Option<Reason> {
    if mac::<Hmac<Sha512>>(key, body, given) {
        return Some(Reason::new(
            "spelling",
            "its bytes are those of the body's signature: only the spelling is wrong",
        ));
    }
    if mac::<Hmac<Sha256>>(key, body, given) {
        return Some(Reason::new("sha256", "it was computed with SHA-256: ROOMZ signs with HMAC-SHA512"));
    }
    if mac::<Hmac<Sha384>>(key, body, given) {
        return Some(Reason::new("sha384", "it was computed with SHA-384: ROOMZ signs with HMAC-SHA512"));
    }
    match given.len() {
        64 => {}
        32 => {
            return Some(Reason::new(
                "digest",
                "32 bytes are the length of SHA-256: ROOMZ signs with HMAC-SHA512",
            ));
        }
        20 => {
            return Some(Reason::new(
                "digest",
                "20 bytes are the length of SHA-1: ROOMZ signs with HMAC-SHA512",
            ));
        }
        _ => return None,
    }
    if mac::<Hmac<Sha512>>(body, key, given) {
        return Some(Reason::new(
            "swapped",
            "it was computed with secret and body swapped: the secret is the key",
        ));
    }
    if Sha512::digest(body).as_slice() == given || Sha512::digest([key, body].concat()).as_slice() == given {
        return Some(Reason::new("no-hmac", "it is a plain SHA-512 and no HMAC"));
    }
    let (keys, bodies) = (secrets(key), bodies(body));
    let single = keys.iter().map(|key| (Some(key), None)).chain(bodies.iter().map(|body| (None, Some(body))));
    let both = keys.iter().flat_map(|key| bodies.iter().map(move |body| (Some(key), Some(body))));
    for (other_key, other_body) in single.chain(both) {
        let tried_key = other_key.map_or(key, |other| other.bytes.as_slice());
        let tried_body = other_body.map_or(body, |other| other.bytes.as_slice());
        if mac::<Hmac<Sha512>>(tried_key, tried_body, given) {
            let texts: Vec<_> =
                [other_key, other_body].into_iter().flatten().map(|other| other.text).collect();
            let name = other_key.or(other_body).map_or("mismatch", |other| other.name);
            return Some(Reason::new(name, texts.join(", and ")));
        }
    }
    Some(Reason::new(
        "mismatch",
        "the signature is not that of the body, nor explained by a usual mistake: compare the secret with that in ROOMZ, \
         and take the body as it came, before anything reads or changes it",
    ))
}

/// What a signer may have used instead, and what that means.
struct Other {
    name: &'static str,
    text: &'static str,
    bytes: Zeroizing<Vec<u8>>,
}

fn secrets(key: &[u8]) -> Vec<Other> {
    let other = |name, text, bytes| Other { name, text, bytes: Zeroizing::new(bytes) };
    let mut all = Vec::new();
    for end in ["\n", "\r\n", " "] {
        let text =
            "the signer's secret has white space at its end, such as the newline of a file: remove it there";
        all.push(other("secret-whitespace", text, [key, end.as_bytes()].concat()));
    }
    for (alphabet, padded) in [(&alphabet::STANDARD, false), (&alphabet::URL_SAFE, false)] {
        let config = GeneralPurposeConfig::new()
            .with_encode_padding(padded)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        if let Ok(bytes) = GeneralPurpose::new(alphabet, config).decode(key) {
            let text = "the signer decoded the secret from base64: the key is the text as ROOMZ shows it";
            all.push(other("secret-base64", text, bytes));
        }
    }
    if let Some(bytes) = from_hex(key) {
        let text = "the signer decoded the secret from hexadecimal: the key is the text as ROOMZ shows it";
        all.push(other("secret-hex", text, bytes));
    }
    let text = "the signer changed the secret's case";
    for bytes in [key.to_ascii_lowercase(), key.to_ascii_uppercase()] {
        all.push(other("secret-case", text, bytes));
    }
    all
}

fn bodies(body: &[u8]) -> Vec<Other> {
    let mut all = Vec::new();
    if body.len() > LONGEST {
        return all;
    }
    let mut add = |name, text, bytes: Vec<u8>| {
        if bytes != body {
            all.push(Other { name, text, bytes: Zeroizing::new(bytes) });
        }
    };
    let trimmed = body.trim_ascii();
    add(
        "body-whitespace",
        "the body has white space around it that was not signed: `echo` and editors add a newline",
        trimmed.to_vec(),
    );
    for end in ["\n", "\r\n"] {
        let text = "a newline at the end of the body was signed and is missing here: give the body's bytes as they came";
        add("body-whitespace", text, [body, end.as_bytes()].concat());
        add("body-whitespace", text, [trimmed, end.as_bytes()].concat());
    }
    if let Some(rest) = body.strip_prefix(b"\xef\xbb\xbf") {
        add(
            "body-bom",
            "the body begins with a byte order mark that was not signed: remove it",
            rest.to_vec(),
        );
    }
    let Ok(text) = std::str::from_utf8(body) else { return all };
    let line_ends = "the body's line ends have been changed: give its bytes as they came";
    add("body-line-ends", line_ends, text.replace("\r\n", "\n").into_bytes());
    add("body-line-ends", line_ends, text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes());
    let layouts = [
        Layout::Compact,
        Layout::Spaced,
        Layout::Indented("  "),
        Layout::Indented("    "),
        Layout::Indented("\t"),
    ];
    for layout in layouts {
        for strings in [Strings::Kept, Strings::SlashesEscaped, Strings::SlashesPlain] {
            let Some(form) = reformat(text, layout, strings) else { return all };
            let changed = "the body has been re-formatted after it was signed: verify the raw bytes, before any JSON parser";
            add("body-reformatted", changed, format!("{form}\n").into_bytes());
            add("body-reformatted", changed, form.into_bytes());
        }
    }
    if let Some(form) = sorted(text) {
        let changed = "the keys of the body were in another order when it was signed: verify the raw bytes, before any \
                       JSON parser";
        add("body-reordered", changed, form.into_bytes());
    }
    all
}

fn mac<M: Mac + KeyInit>(key: &[u8], body: &[u8], given: &[u8]) -> bool {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return false };
    mac.update(body);
    mac.verify_slice(given).is_ok()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
