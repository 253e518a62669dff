//! The signature of a delivery.

use http::{HeaderMap, HeaderValue};
use roomz_protocol::{SIGNATURE_HEADER, Secret, Secrets, Signature};
use roomz_webhook::{Rejection, RejectionKind};

/// Sets the signature of the body.
pub(crate) fn sign(headers: &mut HeaderMap, secret: &Secret, body: &[u8]) {
    // Base64 is always a valid header value.
    if let Ok(signature) = HeaderValue::try_from(secret.sign(body).to_base64()) {
        headers.insert(SIGNATURE_HEADER, signature);
    }
}

/// Returns the only signature of a delivery.
pub(crate) fn only_signature(headers: &HeaderMap) -> Result<&[u8], RejectionKind> {
    let mut values = headers.get_all(SIGNATURE_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(RejectionKind::SignatureRepeated),
        (None, _) => Err(RejectionKind::SignatureMissing),
    }
}

/// Verifies a delivery as the layer of a receiver does.
pub(crate) fn verify(secrets: &Secrets, headers: &HeaderMap, body: &[u8]) -> Result<(), Rejection> {
    let signature = only_signature(headers)
        .and_then(|value| Signature::from_base64(value).map_err(|_| RejectionKind::SignatureMalformed));
    let verified = signature
        .and_then(|signature| secrets.verify(body, &signature).map_err(|_| RejectionKind::SignatureMismatch));
    verified.map(drop).map_err(Rejection::new)
}
