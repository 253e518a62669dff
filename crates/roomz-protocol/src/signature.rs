use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The length of an HMAC-SHA512 in bytes.
const BYTES: usize = 64;
/// The same in base64 with padding.
const CHARACTERS: usize = 88;

/// An HMAC-SHA512, as it stands in the header `Roomz-Signature`.
///
/// There is one spelling: standard base64 with padding, 88 characters for 64 bytes. Hexadecimal, the URL-safe
/// alphabet, missing padding, white space and non-zero bits after the last byte are refused.
///
/// `Debug` prints nothing of it, and there is no `==`: compare with [`Secrets::verify`](crate::Secrets::verify),
/// which takes the same time wherever the first difference is.
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
#[derive(Clone)]
pub struct Signature([u8; BYTES]);

impl Signature {
    pub(crate) const fn new(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the value of the signature header.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the text is not 88 characters of standard base64 for 64 bytes.
    pub fn from_base64(text: &[u8]) -> Result<Self, SignatureError> {
        if text.len() != CHARACTERS {
            return Err(SignatureError::Length { found: text.len() });
        }
        // 88 characters can also stand for 65 or 66 bytes: the decoder wants room for those.
        let mut decoded = [0; BYTES + 2];
        let length = STANDARD.decode_slice(text, &mut decoded).map_err(|_| SignatureError::NotBase64)?;
        match decoded.first_chunk() {
            Some(bytes) if length == BYTES => Ok(Self(*bytes)),
            _ => Err(SignatureError::NotBase64),
        }
    }

    /// The text for the signature header.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature([redacted])")
    }
}

/// A text is not a signature. Nothing of the text is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureError {
    /// It does not have 88 characters.
    #[non_exhaustive]
    Length {
        /// The number of bytes it has.
        found: usize,
    },
    /// It has 88 characters, but they are not the one base64 spelling of 64 bytes.
    NotBase64,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found } => write!(
                f,
                "the signature has {found} characters instead of the {CHARACTERS} of an HMAC-SHA512 in base64"
            ),
            Self::NotBase64 => f.write_str(
                "the signature is not standard base64 with padding (`A-Z a-z 0-9 + /`, then `==`) of 64 bytes",
            ),
        }
    }
}

impl std::error::Error for SignatureError {}
