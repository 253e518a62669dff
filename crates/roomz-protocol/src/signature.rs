use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The name of the header that carries the signature: `roomz-signature`.
///
/// Source: `documentation/signature.md` of the public repository `roomz-io/openapi` (2024-05-20). Its first
/// draft said `X-Roomz-Signature`.
pub const SIGNATURE_HEADER: &str = "roomz-signature";

/// The length of an HMAC-SHA512 in bytes.
const SIGNATURE_BYTES: usize = 64;
/// The length of an HMAC-SHA512 in base64 with padding.
const BASE64_CHARS: usize = 88;

/// The HMAC-SHA512 of a body, as sent in the header `Roomz-Signature`.
///
/// Only one encoding is valid: standard base64 with padding, 88 characters for 64 bytes. Hexadecimal, the
/// URL-safe alphabet, missing padding, white space and non-zero bits after the last byte are rejected.
///
/// `Debug` is redacted. There is no `==`, because it would leak timing: compare with
/// [`Secrets::verify`](crate::Secrets::verify), which takes constant time.
///
/// ```
/// use roomz_protocol::{Secret, Signature};
///
/// let header = Secret::new("the webhook secret")?.sign(b"{}").to_base64();
/// assert_eq!(header.len(), 88);
/// assert!(Signature::from_base64(header.as_bytes()).is_ok());
/// assert_eq!(
///     Signature::from_base64(b"c2hvcnQ=").unwrap_err().to_string(),
///     "the signature has 8 characters instead of the 88 of an HMAC-SHA512 in base64",
/// );
/// # Ok::<(), roomz_protocol::SecretError>(())
/// ```
#[derive(Clone, derive_more::Debug)]
#[debug("Signature([redacted])")]
pub struct Signature(pub(crate) [u8; SIGNATURE_BYTES]);

impl Signature {
    /// Parses the value of the signature header.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] if the value is not 88 characters of standard base64 for 64 bytes.
    pub fn from_base64(text: &[u8]) -> Result<Self, SignatureError> {
        if text.len() != BASE64_CHARS {
            return Err(SignatureError::Length { found: text.len() });
        }
        // Longer than a signature, because 88 characters can also encode 65 or 66 bytes.
        let mut decoded = [0; BASE64_CHARS];
        let length = STANDARD.decode_slice(text, &mut decoded).map_err(|_| SignatureError::NotBase64)?;
        match decoded.first_chunk() {
            Some(bytes) if length == SIGNATURE_BYTES => Ok(Self(*bytes)),
            _ => Err(SignatureError::NotBase64),
        }
    }

    /// Returns the value for the signature header.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// The error of parsing text that is not a signature. It contains no part of the text.
///
/// `Debug` prints the same message as `Display`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The text does not have 88 characters.
    #[error("the signature has {found} characters instead of the {BASE64_CHARS} of an HMAC-SHA512 in base64")]
    #[non_exhaustive]
    Length {
        /// The number of bytes of the text.
        found: usize,
    },
    /// The text has 88 characters, but is not the base64 encoding of 64 bytes.
    #[error("the signature is not standard base64 with padding (`A-Z a-z 0-9 + /`, then `==`) of 64 bytes")]
    NotBase64,
}
