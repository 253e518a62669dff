use http::HeaderMap;
use roomz_protocol::{SIGNATURE_HEADER, Secrets, Signature};
use roomz_webhook::RejectionKind;

/// The result of verifying the signature of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SignatureCheck {
    Verified,
    /// There is no secret to verify with.
    NotVerified,
    Missing,
    Repeated,
    /// Not the base64 of an HMAC-SHA512, with the error message.
    Malformed(String),
    Mismatch,
}

impl SignatureCheck {
    pub(super) fn new(secrets: Option<&Secrets>, headers: &HeaderMap, body: &[u8]) -> Self {
        let Some(secrets) = secrets else { return Self::NotVerified };
        let mut values = headers.get_all(SIGNATURE_HEADER).iter();
        let Some(value) = values.next() else { return Self::Missing };
        if values.next().is_some() {
            return Self::Repeated;
        }
        match Signature::from_base64(value.as_bytes()) {
            Err(error) => Self::Malformed(error.to_string()),
            Ok(signature) if secrets.verify(body, &signature).is_ok() => Self::Verified,
            Ok(_) => Self::Mismatch,
        }
    }

    /// The rejection that a receiver with the layer responds with; `None` when it accepts the delivery.
    pub(super) const fn rejection(&self) -> Option<RejectionKind> {
        match self {
            Self::Verified | Self::NotVerified => None,
            Self::Missing => Some(RejectionKind::SignatureMissing),
            Self::Repeated => Some(RejectionKind::SignatureRepeated),
            Self::Malformed(_) => Some(RejectionKind::SignatureMalformed),
            Self::Mismatch => Some(RejectionKind::SignatureMismatch),
        }
    }

    /// `None` without a secret.
    pub(super) fn is_verified(&self) -> Option<bool> {
        match self {
            Self::NotVerified => None,
            check => Some(*check == Self::Verified),
        }
    }
}
