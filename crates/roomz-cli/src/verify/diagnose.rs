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
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::json_print::{describe_change, print_in_all_ways};
use crate::input::MARK;

/// A longer body is not printed again in all ways, because trying them would take long. ROOMZ's events have
/// about 225 bytes.
const MAX_REWRITTEN: usize = 8 * 1024;

/// The characters of the bytes from 0x80 to 0x9f in Windows-1252. The others are those of Latin-1.
const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

/// Quotation marks, in front and behind.
const QUOTES: [&str; 14] =
    ["\"\"", "''", "``", "“”", "””", "„“", "„”", "‘’", "’’", "‚‘", "«»", "»«", "‹›", "›‹"];

/// What is in front of a secret in a file, a script or a document.
const NAMES: [&str; 6] =
    ["", "ROOMZ_WEBHOOK_SECRET=", "export ROOMZ_WEBHOOK_SECRET=", "WEBHOOK_SECRET=", "SECRET=", "secret: "];

/// The byte order mark, and other characters that nobody sees.
const INVISIBLE: [&str; 5] = ["\u{feff}", "\u{200b}", "\u{2060}", "\u{ad}", "\u{200e}"];

/// A mistake and what to do, and the secret or the body to which it leads.
type Variant = (String, Zeroizing<Vec<u8>>);

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
        let text = format!("the signature is URL-safe base64 (`-` and `_`{padding}): use standard base64");
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
    match given.len() {
        _ if is_hmac::<Hmac<Sha512>>(key, body, given) => {
            Some("the HMAC is correct: only its encoding is wrong".to_owned())
        }
        32 if is_hmac::<Hmac<Sha256>>(key, body, given) => {
            Some("it was computed with SHA-256: ROOMZ signs with HMAC-SHA512".to_owned())
        }
        64 => Some(explain_sha512(key, body, given)),
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

/// Secrets that a signer may have used, the most common mistakes first.
fn secret_variants(key: &[u8]) -> Vec<Variant> {
    let signer = |front: &str, behind: &str| {
        let extra = describe_extra(&[front, behind].concat());
        let text = format!("the signer's secret has {extra} around it: remove it at the signer");
        (text, [front.as_bytes(), key, behind.as_bytes()].concat().into())
    };
    let mut variants: Vec<Variant> = ["\n", "\r\n", " "].map(|end| signer("", end)).into();
    let mut add = |text: &str, bytes: Vec<u8>| variants.push((text.to_owned(), bytes.into()));
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        if let Ok(bytes) = GeneralPurpose::new(alphabet, lenient).decode(key) {
            add("the signer decoded the secret from base64: the key is the text as shown by ROOMZ", bytes);
        }
    }
    if let Ok(bytes) = hex::decode(key) {
        add("the signer decoded the secret from hexadecimal: the key is the text as shown by ROOMZ", bytes);
    }
    for bytes in [key.to_ascii_lowercase(), key.to_ascii_uppercase()] {
        add("the signer changed the secret to lower case or upper case: use it as shown by ROOMZ", bytes);
    }
    let key_text = String::from_utf8_lossy(key);
    for bytes in utf_16(&key_text) {
        add("the signer's secret is UTF-16: encode it as UTF-8 at the signer", bytes);
    }
    let quotes = QUOTES.iter().filter_map(|pair| pair.split_at_checked(pair.chars().next()?.len_utf8()));
    let quotes = quotes.flat_map(|(open, close)| [(open, close), (open, ""), ("", close), ("", "")]);
    for name in NAMES {
        for end in ["", ";", ",", "\n", "\r\n"] {
            let around = |(open, close): (&str, &str)| signer(&[name, open].concat(), &[close, end].concat());
            variants.extend(quotes.clone().map(around));
        }
    }
    for mark in INVISIBLE {
        variants.extend([signer(mark, ""), signer("", mark), signer(mark, "\n"), signer(mark, "\r\n")]);
    }
    // The signer's secret is a part of this one.
    for (start, _) in key_text.char_indices().take(64) {
        for end in (0..=8).filter_map(|length| key_text.len().checked_sub(length)) {
            let parts = (key_text.get(..start), key_text.get(start..end), key_text.get(end..));
            let (Some(front), Some(part), Some(behind)) = parts else { continue };
            let extra = describe_extra(&[front, behind].concat());
            let text = format!("this secret has {extra} around it, which the signer's has not: remove it");
            variants.push((text, part.as_bytes().to_vec().into()));
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
        ("an invisible character", INVISIBLE.iter().skip(1).any(|mark| extra.contains(mark))),
        ("white space", extra.trim() != extra),
    ];
    let parts: Vec<_> = parts.into_iter().filter_map(|(part, is_there)| is_there.then_some(part)).collect();
    if parts.is_empty() { "more characters".to_owned() } else { parts.join(" and ") }
}

/// Finds a body that was signed, among those that a signer may have signed, the most common mistakes first.
/// Returns the mistake, and what `signer` knows about the signature.
fn find_body<T>(body: &[u8], signer: impl Fn(&[u8]) -> Option<T>) -> Option<(String, T)> {
    let short = Some(body).filter(|body| body.len() <= MAX_REWRITTEN).unwrap_or_default();
    let text = std::str::from_utf8(short).unwrap_or_default();
    let find = |(text, bytes): (&str, Vec<u8>)| Some((text.to_owned(), signer(&bytes)?));
    let reformatted = |(form, is_sorted): (String, bool)| {
        let signer = signer(form.as_bytes()).or_else(|| signer([&form, "\n"].concat().as_bytes()))?;
        let change = match is_sorted {
            true => "the keys of the body were in another order when it was signed".to_owned(),
            false => format!("the body was reformatted after it was signed{}", describe_change(text, &form)),
        };
        Some((format!("body-reformatted: {change}; verify the raw bytes, before any JSON parser"), signer))
    };
    let charset = |(what, bytes): (&str, Vec<u8>)| {
        let text = format!("body-charset: {what} after it was signed; verify the raw bytes, as received");
        Some((text, signer(&bytes)?))
    };
    whole_bodies(body)
        .into_iter()
        .find_map(find)
        .or_else(|| print_in_all_ways(text).find_map(reformatted))
        .or_else(|| other_characters(short, text).into_iter().find_map(charset))
}

/// Changes outside the tokens of JSON.
fn whole_bodies(body: &[u8]) -> [(&'static str, Vec<u8>); 10] {
    let (trimmed, unmarked) = (body.trim_ascii(), body.strip_prefix(MARK).unwrap_or(body));
    let unix = std::str::from_utf8(body).unwrap_or_default().replace("\r\n", "\n");
    let space = "the body has white space around it that was not signed: `echo` and editors add a newline";
    let newline =
        "a newline at the end of the body was signed but is missing here: use the bytes as received";
    let mark = "the body begins with a byte order mark that was not signed: remove it";
    let no_mark =
        "a byte order mark before the body was signed but is missing here: use the bytes as received";
    let line_ends = "the line ends of the body were changed: use the bytes as received";
    [
        (space, trimmed.to_vec()),
        (newline, [body, b"\n"].concat()),
        (newline, [body, b"\r\n"].concat()),
        (newline, [trimmed, b"\n"].concat()),
        (newline, [trimmed, b"\r\n"].concat()),
        (mark, unmarked.to_vec()),
        (mark, unmarked.trim_ascii().to_vec()),
        (no_mark, [MARK, body].concat()),
        (line_ends, unix.replace('\n', "\r\n").into_bytes()),
        (line_ends, unix.into_bytes()),
    ]
}

/// The body in other character sets, and with characters that a change of it replaced.
fn other_characters(body: &[u8], text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let single_byte = "the body was converted between UTF-8 and Windows-1252 or Latin-1";
    let wide = "the body was converted between UTF-8 and UTF-16";
    let form = "the Unicode normalization of the body was changed (NFC, NFD)";
    let lost = "characters of the body were replaced by `?` or U+FFFD";
    let to_byte = |c| (0..=u8::MAX).find(|byte| windows_1252(*byte) == c);
    let mut variants = vec![
        (single_byte, body.iter().copied().map(windows_1252).collect::<String>().into_bytes()),
        (single_byte, text.chars().map_while(to_byte).collect()),
        (form, text.nfc().collect::<String>().into_bytes()),
        (form, text.nfd().collect::<String>().into_bytes()),
    ];
    variants.extend(utf_16(text).map(|bytes| (wide, bytes)));
    for from_bytes in [u16::from_le_bytes, u16::from_be_bytes] {
        let units = body.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(from_bytes);
        let decoded = char::decode_utf16(units).filter_map(Result::ok).collect::<String>();
        variants.push((wide, decoded.trim_start_matches('\u{feff}').into()));
    }
    for mark in ["?", "\u{fffd}"] {
        let to_mark = |c: char| if c.is_ascii() { c.to_string() } else { mark.to_owned() };
        variants.push((lost, text.chars().map(to_mark).collect::<String>().into_bytes()));
        let bytes = body.iter().map(|byte| to_mark(char::from(*byte)));
        variants.push((lost, bytes.collect::<String>().into_bytes()));
        // Here, the replaced character is not known: one of Latin-1 is tried for all.
        for mark in [mark.repeat(2), mark.to_owned()].iter().filter(|mark| text.contains(*mark)) {
            let of_latin_1 = ('\u{a0}'..='\u{ff}').map(|c| text.replace(mark, &c.to_string()));
            variants.extend(of_latin_1.map(|text| (lost, text.into_bytes())));
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
