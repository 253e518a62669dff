use http::request::Parts;
use http::{HeaderMap, Method, header};
use roomz_protocol::Signature;

use crate::config::Config;
use crate::response::{Rejection, RejectionKind};

/// Checks 1 to 4: everything that can be checked before the body is read.
pub(crate) fn check(head: &Parts, config: &Config) -> Result<Signature, Rejection> {
    if head.method != Method::POST {
        return Err(Rejection::new(RejectionKind::MethodNotAllowed));
    }
    if !is_identity(&head.headers) {
        return Err(Rejection::new(RejectionKind::ContentEncoding));
    }
    let signature = signature(&head.headers, config)?;
    if content_length(&head.headers).is_some_and(|length| length > config.body_limit as u64) {
        return Err(Rejection::body_too_large(config.body_limit));
    }
    Ok(signature)
}

fn is_identity(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn signature(headers: &HeaderMap, config: &Config) -> Result<Signature, Rejection> {
    // `get` would return only the first of several header lines.
    let mut values = headers.get_all(&config.signature_header).iter();
    let Some(value) = values.next() else {
        return Err(Rejection::signature_missing(config.signature_header.clone()));
    };
    let repeated = values.count();
    if repeated > 0 {
        return Err(Rejection::signature_repeated(config.signature_header.clone(), repeated + 1));
    }
    Signature::from_base64(value.as_bytes()).map_err(Rejection::signature_malformed)
}

/// Returns the declared length. The server rejects an invalid one; reading is capped in any case.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
