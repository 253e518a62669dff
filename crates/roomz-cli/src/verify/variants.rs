//! Secrets and bodies that a signer may have used by mistake.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::json_layout::{Layout, Slashes, reformat, sort_keys};

/// A longer body has no variants, because trying them would take long. No delivery is longer.
const MAX_BODY: usize = 1024 * 1024;

/// A secret or a body that differs from the given one, and the mistake that leads to it.
pub(super) struct Variant {
    /// Stable, for `--json`.
    pub(super) name: &'static str,
    /// What is wrong and what to do.
    pub(super) text: &'static str,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Variant {
    fn new(name: &'static str, text: &'static str, bytes: Vec<u8>) -> Self {
        Self { name, text, bytes: Zeroizing::new(bytes) }
    }
}

pub(super) fn secret_variants(key: &[u8]) -> Vec<Variant> {
    let mut variants = Vec::new();
    for end in ["\n", "\r\n", " "] {
        let text = "the signer's secret ends with white space, such as the newline of a file: remove it at the signer";
        variants.push(Variant::new("secret-whitespace", text, [key, end.as_bytes()].concat()));
    }
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        if let Ok(bytes) = GeneralPurpose::new(alphabet, lenient).decode(key) {
            let text = "the signer decoded the secret from base64: the key is the text as shown by ROOMZ";
            variants.push(Variant::new("secret-base64", text, bytes));
        }
    }
    if let Some(bytes) = decode_hex(key) {
        let text = "the signer decoded the secret from hexadecimal: the key is the text as shown by ROOMZ";
        variants.push(Variant::new("secret-hex", text, bytes));
    }
    let text = "the signer changed the secret to lower case or upper case: use it as shown by ROOMZ";
    for bytes in [key.to_ascii_lowercase(), key.to_ascii_uppercase()] {
        variants.push(Variant::new("secret-case", text, bytes));
    }
    variants
}

pub(super) fn body_variants(body: &[u8]) -> Vec<Variant> {
    let mut variants = Vec::new();
    if body.len() > MAX_BODY {
        return variants;
    }
    let mut add = |name, text, bytes: Vec<u8>| {
        if bytes != body {
            variants.push(Variant::new(name, text, bytes));
        }
    };
    let trimmed = body.trim_ascii();
    add(
        "body-whitespace",
        "the body has white space around it that was not signed: `echo` and editors add a newline",
        trimmed.to_vec(),
    );
    for end in ["\n", "\r\n"] {
        let text =
            "a newline at the end of the body was signed but is missing here: use the bytes as received";
        add("body-whitespace", text, [body, end.as_bytes()].concat());
        add("body-whitespace", text, [trimmed, end.as_bytes()].concat());
    }
    if let Some(rest) = body.strip_prefix(b"\xef\xbb\xbf") {
        let text = "the body begins with a byte order mark that was not signed: remove it";
        add("body-bom", text, rest.to_vec());
    }
    let Ok(text) = std::str::from_utf8(body) else { return variants };
    let line_ends = "the line ends of the body were changed: use the bytes as received";
    add("body-line-ends", line_ends, text.replace("\r\n", "\n").into_bytes());
    add("body-line-ends", line_ends, text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes());
    let layouts = [
        Layout::Compact,
        Layout::Spaced,
        Layout::Indented("  "),
        Layout::Indented("    "),
        Layout::Indented("\t"),
    ];
    let reformatted =
        "the body was reformatted after it was signed: verify the raw bytes, before any JSON parser";
    for layout in layouts {
        for slashes in [Slashes::Keep, Slashes::Escape, Slashes::Unescape] {
            let Some(form) = reformat(text, layout, slashes) else { return variants };
            add("body-reformatted", reformatted, format!("{form}\n").into_bytes());
            add("body-reformatted", reformatted, form.into_bytes());
        }
    }
    if let Some(form) = sort_keys(text) {
        let reordered = "the keys of the body were in another order when it was signed: verify the raw bytes, before \
                         any JSON parser";
        add("body-reordered", reordered, form.into_bytes());
    }
    variants
}

pub(super) fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
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
