use http::request::Parts;
use http::{HeaderMap, Method, header};
use roomz_protocol::Signature;

use crate::config::Config;
use crate::response::{Rejection, RejectionKind};

/// The compressions in the IANA registry of content codings, and `bzip2`, `xz` and `lzma`, which are in use.
const COMPRESSIONS: &str =
    "gzip x-gzip compress x-compress deflate br zstd dcb dcz exi pack200-gzip bzip2 xz lzma";

/// Checks 1 to 4: everything that can be checked before the body is read.
pub(crate) fn check(head: &Parts, config: &Config) -> Result<Signature, Rejection> {
    if head.method != Method::POST {
        return Err(RejectionKind::MethodNotAllowed.into());
    }
    check_encoding(&head.headers)?;
    let signature = signature(&head.headers, config)?;
    check_length(content_length(&head.headers).unwrap_or_default(), config)?;
    Ok(signature)
}

/// Rejects a body of at least this length, if that is above the limit.
pub(crate) fn check_length(length: u64, config: &Config) -> Result<(), Rejection> {
    let limit = config.body_limit;
    if length > limit as u64 {
        let detail = format!("the body is longer than {limit} bytes");
        return Err(Rejection::with_detail(RejectionKind::BodyTooLarge, detail));
    }
    Ok(())
}

/// Rejects a compressed body. Any other value says nothing about the bytes, and the signature decides.
fn check_encoding(headers: &HeaderMap) -> Result<(), Rejection> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    for name in names {
        if let Some(name) = COMPRESSIONS.split(' ').find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        {
            let detail = format!(
                "the body is compressed with {name} (`Content-Encoding`); send the bytes that were signed"
            );
            return Err(Rejection::with_detail(RejectionKind::ContentEncoding, detail));
        }
    }
    Ok(())
}

fn signature(headers: &HeaderMap, config: &Config) -> Result<Signature, Rejection> {
    // `get` would return only the first of several header lines.
    let header = &config.signature_header;
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        let detail = format!("the header `{header}` is missing");
        return Err(Rejection::with_detail(RejectionKind::SignatureMissing, detail));
    };
    let signature = Signature::from_base64(value.as_bytes());
    let mut others = values.count();
    if signature.is_err() {
        // Some proxies join repeated lines with a comma, which base64 does not have.
        others += value.as_bytes().iter().filter(|byte| **byte == b',').count();
    }
    if others > 0 {
        let detail = format!("there are {} values of the header `{header}`; send exactly one", others + 1);
        return Err(Rejection::with_detail(RejectionKind::SignatureRepeated, detail));
    }
    signature.map_err(|error| Rejection::with_detail(RejectionKind::SignatureMalformed, error.to_string()))
}

/// Returns the declared length. The server rejects an invalid one; reading is capped in any case.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
