//! Secrets and bodies that a signer may have used by mistake.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::json_layout::{Layout, reformat, sort_keys};

/// A longer body has no variants, because trying them would take long. No delivery is longer.
const MAX_BODY: usize = 1024 * 1024;

/// A secret or a body that differs from the given one, and the mistake that leads to it.
pub(super) struct Variant {
    /// What is wrong and what to do.
    pub(super) text: &'static str,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Variant {
    fn new(text: &'static str, bytes: Vec<u8>) -> Self {
        Self { text, bytes: Zeroizing::new(bytes) }
    }
}

pub(super) fn secret_variants(key: &[u8]) -> Vec<Variant> {
    let mut variants = Vec::new();
    let text =
        "the signer's secret ends with white space, such as the newline of a file: remove it at the signer";
    for end in ["\n", "\r\n", " "] {
        variants.push(Variant::new(text, [key, end.as_bytes()].concat()));
    }
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text = "the signer decoded the secret from base64: the key is the text as shown by ROOMZ";
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        let decoded = GeneralPurpose::new(alphabet, lenient).decode(key);
        variants.extend(decoded.map(|bytes| Variant::new(text, bytes)));
    }
    let text = "the signer decoded the secret from hexadecimal: the key is the text as shown by ROOMZ";
    variants.extend(hex::decode(key).map(|bytes| Variant::new(text, bytes)));
    let text = "the signer changed the secret to lower case or upper case: use it as shown by ROOMZ";
    for bytes in [key.to_ascii_lowercase(), key.to_ascii_uppercase()] {
        variants.push(Variant::new(text, bytes));
    }
    variants
}

pub(super) fn body_variants(body: &[u8]) -> Vec<Variant> {
    let mut variants = Vec::new();
    if body.len() > MAX_BODY {
        return variants;
    }
    let mut add = |text, bytes: Vec<u8>| {
        if bytes != body {
            variants.push(Variant::new(text, bytes));
        }
    };
    let trimmed = body.trim_ascii();
    add(
        "the body has white space around it that was not signed: `echo` and editors add a newline",
        trimmed.to_vec(),
    );
    let text = "a newline at the end of the body was signed but is missing here: use the bytes as received";
    for end in ["\n", "\r\n"] {
        add(text, [body, end.as_bytes()].concat());
        add(text, [trimmed, end.as_bytes()].concat());
    }
    if let Some(rest) = body.strip_prefix(b"\xef\xbb\xbf") {
        add("the body begins with a byte order mark that was not signed: remove it", rest.to_vec());
    }
    let Ok(body_text) = std::str::from_utf8(body) else { return variants };
    let unix = body_text.replace("\r\n", "\n");
    let text = "the line ends of the body were changed: use the bytes as received";
    add(text, unix.replace('\n', "\r\n").into_bytes());
    add(text, unix.into_bytes());
    let text = "the body was reformatted after it was signed: verify the raw bytes, before any JSON parser";
    for form in reformatted(body_text) {
        add(text, format!("{form}\n").into_bytes());
        add(text, form.into_bytes());
    }
    let text = "the keys of the body were in another order when it was signed: verify the raw bytes, before any JSON \
                parser";
    if let Some(form) = sort_keys(body_text) {
        add(text, form.into_bytes());
    }
    variants
}

/// The layouts of common JSON libraries. PHP also writes `/` as `\/`.
fn reformatted(body: &str) -> impl Iterator<Item = String> {
    let layouts = [(",", ":", None), (", ", ": ", None)].into_iter();
    let layouts = layouts.chain(["  ", "    ", "\t"].map(|indent| (",", ": ", Some(indent))));
    let plain = body.replace("\\/", "/");
    let texts = [body.to_owned(), plain.replace('/', "\\/"), plain];
    layouts.flat_map(move |(comma, colon, indent)| {
        let layout = Layout { comma, colon, indent };
        texts.clone().into_iter().filter_map(move |text| reformat(&text, layout))
    })
}
