use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::secret_error::{SecretError, SecretErrorKind, Source};
use crate::signature::Signature;

pub(crate) type HmacSha512 = Hmac<Sha512>;

/// Longer secrets are refused: nobody has one, and a file of that size is another file.
const LONGEST: usize = 64 * 1024;

/// One webhook secret: the key of the HMAC, ready to use.
///
/// The key is the UTF-8 text of the secret as ROOMZ shows it; it is not decoded from base64 or hexadecimal. Cloning
/// is cheap and shares the key, which is wiped when the last clone is dropped. `Debug` prints nothing of it.
///
/// A secret that is empty, blank, holds a NUL, or begins or ends with white space is refused: the first two sign
/// nothing, `k` and `k` + NUL are the same HMAC key, and white space is a copying mistake. (All of them would
/// otherwise verify nothing or the wrong thing without a word.)
///
/// ```
/// use roomz_protocol::Secret;
///
/// let secret = Secret::new("the webhook secret")?;
/// assert_eq!(format!("{secret:?}"), "Secret([redacted])");
/// # Ok::<(), roomz_protocol::SecretError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Arc<HmacSha512>);

impl Secret {
    /// A secret from a string or bytes.
    ///
    /// The caller's copy stays the caller's: wipe it, or read the secret with [`from_env`](Self::from_env) or
    /// [`from_file`](Self::from_file), which wipe theirs.
    ///
    /// # Errors
    ///
    /// [`SecretError`] when it is empty, blank, longer than 64 KiB, holds a NUL, or begins or ends with white space.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, SecretError> {
        Self::prepare(secret.as_ref()).map_err(|kind| SecretError::new(kind, Source::Value))
    }

    /// The secret in an environment variable.
    ///
    /// # Errors
    ///
    /// [`SecretError`] when the variable is not set or not UTF-8, and for what [`new`](Self::new) refuses.
    ///
    /// ```
    /// use roomz_protocol::Secret;
    ///
    /// let error = Secret::from_env("NO_SUCH_VARIABLE").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the environment variable NO_SUCH_VARIABLE is not set: set it to the webhook secret from ROOMZ",
    /// );
    /// ```
    pub fn from_env(variable: &str) -> Result<Self, SecretError> {
        match std::env::var(variable) {
            Ok(value) => Self::prepare(Zeroizing::new(value).as_bytes()),
            Err(std::env::VarError::NotPresent) => Err(SecretErrorKind::NotSet),
            Err(std::env::VarError::NotUnicode(_)) => Err(SecretErrorKind::NotUtf8),
        }
        .map_err(|kind| SecretError::new(kind, Source::Env(variable.to_owned())))
    }

    /// The secret in a file, which holds it and nothing else.
    ///
    /// A newline at the end is an error that says so, and is not cut off: a tool that signs with the file's bytes
    /// would otherwise disagree with this one. Write the file with `printf %s`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] when the file cannot be read, and for what [`new`](Self::new) refuses.
    ///
    /// ```
    /// use roomz_protocol::{Secret, SecretErrorKind};
    ///
    /// let error = Secret::from_file("/no/such/file").unwrap_err();
    /// assert_eq!(error.kind(), SecretErrorKind::Unreadable);
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SecretError> {
        let path = path.as_ref();
        // With room for all of it from the start, growing leaves no copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        let read = File::open(path).and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut content));
        match read {
            Ok(_) => {
                Self::prepare(&content).map_err(|kind| SecretError::new(kind, Source::File(path.into())))
            }
            Err(error) => Err(SecretError::unreadable(path.into(), error)),
        }
    }

    /// Signs a body: the HMAC-SHA512 over its bytes.
    ///
    /// ```
    /// use roomz_protocol::Secret;
    ///
    /// let signature = Secret::new("the webhook secret")?.sign(b"{}");
    /// println!("Roomz-Signature: {}", signature.to_base64());
    /// # Ok::<(), roomz_protocol::SecretError>(())
    /// ```
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> Signature {
        let mut mac = self.mac();
        mac.update(body);
        Signature::new(mac.finalize().into_bytes().into())
    }

    /// The keyed state, which costs a copy instead of two rounds of the hash.
    pub(crate) fn mac(&self) -> HmacSha512 {
        HmacSha512::clone(&self.0)
    }

    fn prepare(secret: &[u8]) -> Result<Self, SecretErrorKind> {
        check(secret)?;
        Self::unchecked(secret)
    }

    pub(crate) fn unchecked(key: &[u8]) -> Result<Self, SecretErrorKind> {
        // HMAC takes keys of any length; the error is there for other algorithms.
        HmacSha512::new_from_slice(key).map(|mac| Self(Arc::new(mac))).map_err(|_| SecretErrorKind::TooLong)
    }
}

fn check(secret: &[u8]) -> Result<(), SecretErrorKind> {
    // Bytes that are not UTF-8 have no white space but ASCII's.
    let (trimmed_start, trimmed_end) = match std::str::from_utf8(secret) {
        Ok(text) => (text.trim_start().len(), text.trim_end().len()),
        Err(_) => (secret.trim_ascii_start().len(), secret.trim_ascii_end().len()),
    };
    if secret.is_empty() {
        Err(SecretErrorKind::Empty)
    } else if secret.len() > LONGEST {
        Err(SecretErrorKind::TooLong)
    } else if secret.contains(&0) {
        Err(SecretErrorKind::Nul)
    } else if trimmed_start == 0 {
        Err(SecretErrorKind::Blank)
    } else if secret.ends_with(b"\n") {
        Err(SecretErrorKind::TrailingNewline)
    } else if trimmed_start != secret.len() || trimmed_end != secret.len() {
        Err(SecretErrorKind::SurroundingWhitespace)
    } else {
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}
