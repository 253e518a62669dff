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
pub(crate) fn only_signature(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    let mut values = headers.get_all(SIGNATURE_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.as_bytes()),
        (Some(_), Some(_)) => Err(Rejection::new(RejectionKind::SignatureRepeated)),
        (None, _) => Err(Rejection::new(RejectionKind::SignatureMissing)),
    }
}

/// Verifies a delivery as the layer of a receiver does.
pub(crate) fn verify(secrets: &Secrets, headers: &HeaderMap, body: &[u8]) -> Result<(), Rejection> {
    let signature = Signature::from_base64(only_signature(headers)?)
        .map_err(|_| Rejection::new(RejectionKind::SignatureMalformed))?;
    let verified = secrets.verify(body, &signature);
    verified.map(drop).map_err(|_| Rejection::new(RejectionKind::SignatureMismatch))
}
