use http::request::Parts;
use http::{HeaderMap, Method, header};
use roomz_protocol::Signature;

use crate::refusal::{Rejection, RejectionKind};
use crate::settings::Settings;

/// Checks 1 to 4: what can be said before a byte of the body is read.
pub(crate) fn check(head: &Parts, settings: &Settings) -> Result<Signature, Rejection> {
    if head.method != Method::POST {
        return Err(Rejection::new(RejectionKind::MethodNotAllowed));
    }
    if !is_identity(&head.headers) {
        return Err(Rejection::new(RejectionKind::ContentEncoding));
    }
    let signature = signature(&head.headers, settings)?;
    if content_length(&head.headers).is_some_and(|length| length > settings.body_limit as u64) {
        return Err(Rejection::body_too_large(settings.body_limit));
    }
    Ok(signature)
}

fn is_identity(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn signature(headers: &HeaderMap, settings: &Settings) -> Result<Signature, Rejection> {
    // `get` would show the first of several.
    let mut values = headers.get_all(&settings.signature_header).iter();
    let Some(value) = values.next() else {
        return Err(Rejection::signature_missing(settings.signature_header.clone()));
    };
    let more = values.count();
    if more > 0 {
        return Err(Rejection::signature_repeated(settings.signature_header.clone(), more + 1));
    }
    Signature::from_base64(value.as_bytes()).map_err(Rejection::signature_malformed)
}

/// A length that cannot be read is the server's to refuse; reading is capped in any case.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
