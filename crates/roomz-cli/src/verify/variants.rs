//! Secrets and bodies that a signer may have used by mistake.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::json_print::{Printed, describe_escapes, print_in_all_ways};
use crate::input::MARK;

/// A longer body has no variants, because trying them would take long. No delivery is longer.
const MAX_BODY: usize = 1024 * 1024;
/// A longer body is not printed again in all ways, for the same reason. ROOMZ's events have about 225 bytes.
const MAX_REWRITTEN: usize = 8 * 1024;

/// The characters of the bytes from 0x80 to 0x9f in Windows-1252. The others are those of Latin-1.
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// Quotation marks, in front and behind.
const QUOTES: [&str; 14] =
    ["\"\"", "''", "``", "“”", "””", "„“", "„”", "‘’", "’’", "‚‘", "«»", "»«", "‹›", "›‹"];

/// A secret or a body that differs from the given one, and the mistake that leads to it.
pub(super) struct Variant {
    /// What is wrong and what to do.
    pub(super) text: Cow<'static, str>,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Variant {
    fn new(text: impl Into<Cow<'static, str>>, bytes: Vec<u8>) -> Self {
        Self { text: text.into(), bytes: Zeroizing::new(bytes) }
    }
}

/// Secrets that a signer may have used, the most common mistakes first.
pub(super) fn secret_variants(key: &[u8]) -> Vec<Variant> {
    let mut variants = Vec::new();
    let signer = |front: &str, behind: &str| {
        let text = format!(
            "the signer's secret has {} around it: remove it at the signer",
            describe_extra(&[front, behind].concat())
        );
        Variant::new(text, [front.as_bytes(), key, behind.as_bytes()].concat())
    };
    variants.extend(["\n", "\r\n", " "].map(|end| signer("", end)));
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
    let quotes = QUOTES.iter().filter_map(|pair| pair.split_at_checked(pair.chars().next()?.len_utf8()));
    let quotes = quotes.flat_map(|(open, close)| [(open, close), (open, ""), ("", close), ("", "")]);
    for name in [
        "",
        "ROOMZ_WEBHOOK_SECRET=",
        "export ROOMZ_WEBHOOK_SECRET=",
        "WEBHOOK_SECRET=",
        "SECRET=",
        "secret: ",
    ] {
        for end in ["", ";", ",", "\n", "\r\n"] {
            let around = |(open, close): (&str, &str)| signer(&[name, open].concat(), &[close, end].concat());
            variants.extend(quotes.clone().map(around));
        }
    }
    for invisible in ["\u{feff}", "\u{200b}", "\u{2060}", "\u{ad}", "\u{200e}"] {
        let around = [(invisible, ""), ("", invisible), (invisible, "\n"), (invisible, "\r\n")];
        variants.extend(around.map(|(front, behind)| signer(front, behind)));
    }
    let text = "the signer's secret is UTF-16: encode it as UTF-8 at the signer";
    let key_text = String::from_utf8_lossy(key);
    variants.extend(utf_16(&key_text).map(|bytes| Variant::new(text, bytes)));
    // The signer's secret is a part of this one.
    for (start, _) in key_text.char_indices().take(64) {
        for (end, _) in key_text.char_indices().rev().take(3).chain([(key_text.len(), ' ')]) {
            let parts = (key_text.get(..start), key_text.get(start..end), key_text.get(end..));
            let (Some(front), Some(part), Some(behind)) = parts else { continue };
            let text = format!(
                "this secret has {} around it, which the signer's has not: use the secret as shown by ROOMZ",
                describe_extra(&[front, behind].concat())
            );
            variants.push(Variant::new(text, part.as_bytes().to_vec()));
        }
    }
    variants
}

/// Names what surrounds a secret, without quoting it.
fn describe_extra(extra: &str) -> String {
    let quotes = QUOTES.concat();
    let parts = [
        ("quotation marks", extra.contains(|c| quotes.contains(c))),
        ("a name in front (`NAME=`)", extra.contains(['=', ':'])),
        ("`;` or `,` behind", extra.ends_with([';', ','])),
        ("a byte order mark", extra.contains('\u{feff}')),
        ("an invisible character", extra.contains(['\u{200b}', '\u{2060}', '\u{ad}', '\u{200e}'])),
        ("white space", extra.trim() != extra),
    ];
    let parts: Vec<_> = parts.into_iter().filter_map(|(part, is_there)| is_there.then_some(part)).collect();
    if parts.is_empty() { "more characters".to_owned() } else { parts.join(" and ") }
}

/// Bodies that were signed, of those that a signer may have signed, the most common mistakes first.
pub(super) fn body_variants<'a>(
    body: &'a [u8],
    is_signed: &'a dyn Fn(&[u8]) -> bool,
) -> impl Iterator<Item = Variant> + 'a {
    let short = Some(body).filter(|body| body.len() <= MAX_REWRITTEN).unwrap_or_default();
    let text = std::str::from_utf8(short).unwrap_or_default();
    let reformatted = print_in_all_ways(text).filter_map(move |form| {
        let mut bodies = ["\n", ""].map(|end| [&form.text, end].concat().into_bytes()).into_iter();
        bodies.find(|bytes| is_signed(bytes)).map(|bytes| Variant::new(describe_form(text, &form), bytes))
    });
    let whole = Some(body).filter(|body| body.len() <= MAX_BODY).map(whole_bodies).unwrap_or_default();
    let is_signed_variant = |variant: &Variant| is_signed(&variant.bytes);
    let whole = whole.into_iter().filter(is_signed_variant);
    whole.chain(reformatted).chain(other_characters(short, text).into_iter().filter(is_signed_variant))
}

fn describe_form(here: &str, form: &Printed) -> String {
    let change = if form.is_sorted {
        "the keys of the body were in another order when it was signed".to_owned()
    } else if let Some(escapes) = describe_escapes(here, &form.text) {
        format!("the body was reformatted after it was signed: {escapes}")
    } else if form.has_other_numbers {
        "the body was reformatted after it was signed: the numbers have another form".to_owned()
    } else {
        "the body was reformatted after it was signed".to_owned()
    };
    format!("body-reformatted: {change}; verify the raw bytes, before any JSON parser")
}

/// Changes outside the tokens of JSON.
fn whole_bodies(body: &[u8]) -> Vec<Variant> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut variants = Vec::new();
    let mut add = |text, bytes: Vec<u8>| variants.push(Variant::new(text, bytes));
    let trimmed = body.trim_ascii();
    add(
        "the body has white space around it that was not signed: `echo` and editors add a newline",
        trimmed.to_vec(),
    );
    let newline =
        "a newline at the end of the body was signed but is missing here: use the bytes as received";
    for end in ["\n", "\r\n"] {
        add(newline, [body, end.as_bytes()].concat());
        add(newline, [trimmed, end.as_bytes()].concat());
    }
    match body.strip_prefix(MARK) {
        Some(rest) => {
            let mark = "the body begins with a byte order mark that was not signed: remove it";
            add(mark, rest.to_vec());
            add(mark, rest.trim_ascii().to_vec());
        }
        None => add(
            "a byte order mark before the body was signed but is missing here: use the bytes as received",
            [MARK, body].concat(),
        ),
    }
    let unix = text.replace("\r\n", "\n");
    let line_ends = "the line ends of the body were changed: use the bytes as received";
    add(line_ends, unix.replace('\n', "\r\n").into_bytes());
    add(line_ends, unix.into_bytes());
    variants
}

/// The body in other character sets, and with characters that a change of it replaced.
fn other_characters(body: &[u8], text: &str) -> Vec<Variant> {
    let mut variants = Vec::new();
    let mut add = |what: &str, bytes: Option<Vec<u8>>| {
        let text = format!("body-charset: {what} after it was signed; verify the raw bytes, as received");
        variants.extend(bytes.map(|bytes| Variant::new(text, bytes)));
    };
    let single_byte = "the body was converted between UTF-8 and Windows-1252 or Latin-1";
    add(single_byte, Some(body.iter().copied().map(windows_1252).collect::<String>().into_bytes()));
    let to_byte = |c| (0..=u8::MAX).find(|byte| windows_1252(*byte) == c);
    add(single_byte, text.chars().map(to_byte).collect());
    let wide = "the body was converted between UTF-8 and UTF-16";
    utf_16(text).into_iter().for_each(|bytes| add(wide, Some(bytes)));
    for from_bytes in [u16::from_le_bytes, u16::from_be_bytes] {
        let units = body.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(from_bytes);
        let decoded = char::decode_utf16(units).collect::<Result<String, _>>();
        add(wide, decoded.ok().map(|text| text.trim_start_matches('\u{feff}').as_bytes().to_vec()));
    }
    let form = "the Unicode normalization of the body was changed (NFC, NFD)";
    add(form, Some(text.nfc().collect::<String>().into_bytes()));
    add(form, Some(text.nfd().collect::<String>().into_bytes()));
    let lost = "characters of the body were replaced by `?` or U+FFFD";
    for mark in ["?", "\u{fffd}"] {
        let to_mark = |c: char| if c.is_ascii() { c.to_string() } else { mark.to_owned() };
        add(lost, Some(text.chars().map(to_mark).collect::<String>().into_bytes()));
        let bytes = body
            .iter()
            .map(|byte| if byte.is_ascii() { char::from(*byte).to_string() } else { mark.to_owned() });
        add(lost, Some(bytes.collect::<String>().into_bytes()));
        // Here, the replaced character is not known: one of Latin-1 is tried for all.
        for mark in [mark.repeat(2), mark.to_owned()].iter().filter(|mark| text.contains(*mark)) {
            let of_latin_1 = '\u{a0}'..='\u{ff}';
            of_latin_1.for_each(|c| add(lost, Some(text.replace(mark, &c.to_string()).into_bytes())));
        }
    }
    variants
}

fn windows_1252(byte: u8) -> char {
    let index = byte.checked_sub(0x80).map(usize::from);
    index.and_then(|index| WINDOWS_1252.chars().nth(index)).unwrap_or(char::from(byte))
}

/// The text in UTF-16, in both byte orders, with and without a mark.
fn utf_16(text: &str) -> [Vec<u8>; 4] {
    let bytes = |mark: &str, to_bytes: fn(u16) -> [u8; 2]| {
        mark.encode_utf16().chain(text.encode_utf16()).flat_map(to_bytes).collect()
    };
    let (little, big) = (u16::to_le_bytes, u16::to_be_bytes);
    [bytes("", little), bytes("", big), bytes("\u{feff}", little), bytes("\u{feff}", big)]
}
