use std::env::VarError;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::secret_error::{SecretError, SecretErrorKind};
use crate::signature::Signature;

pub(crate) type HmacSha512 = Hmac<Sha512>;

/// The maximum length of a secret. A longer file is not a secret file.
const MAX_SECRET_BYTES: usize = 64 * 1024;
const TOO_LONG: &str = "is longer than 64 KiB: use the webhook secret from ROOMZ";

/// One webhook secret: the key of the HMAC.
///
/// The key is the UTF-8 text of the secret as ROOMZ shows it. It is not decoded from base64 or hexadecimal.
/// Clones are cheap and share the key, which is zeroized when the last clone is dropped. `Debug` is redacted.
///
/// A secret is rejected if it is empty or blank, contains a NUL byte or an invisible character, or begins or
/// ends with white space. An empty or blank secret protects nothing, and `k` and `k` followed by NUL are the
/// same HMAC key. White space and invisible characters (a byte order mark, U+200B, U+00AD) are copying
/// mistakes that would make every verification fail.
///
/// ```
/// use roomz_protocol::Secret;
///
/// let secret = Secret::new("the webhook secret")?;
/// assert_eq!(format!("{secret:?}"), "Secret([redacted])");
/// # Ok::<(), roomz_protocol::SecretError>(())
/// ```
#[derive(Clone, derive_more::Debug)]
#[debug("Secret([redacted])")]
pub struct Secret {
    mac: Arc<HmacSha512>,
    has_copied_syntax: bool,
}

impl Secret {
    /// Creates a secret from a string or bytes.
    ///
    /// Your copy is not zeroized. [`from_env`](Self::from_env) and [`from_file`](Self::from_file) zeroize the
    /// copy that they read.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the secret is empty, blank, longer than 64 KiB, UTF-16, contains a NUL byte or an
    /// invisible character, or begins or ends with white space.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, SecretError> {
        Self::checked(secret.as_ref(), "the secret")
    }

    /// Reads a secret from an environment variable.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the variable is not set or not UTF-8, or if [`new`](Self::new) rejects its value.
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
        let subject = format!("the environment variable {variable}");
        let (kind, problem) = match std::env::var(variable) {
            Ok(value) => return Self::checked(Zeroizing::new(value).as_bytes(), &subject),
            Err(VarError::NotPresent) => {
                (SecretErrorKind::NotSet, "is not set: set it to the webhook secret from ROOMZ")
            }
            Err(VarError::NotUnicode(_)) => {
                (SecretErrorKind::Invalid, "is not UTF-8: use the webhook secret from ROOMZ, which is text")
            }
        };
        Err(SecretError::new(kind, &subject, problem))
    }

    /// Reads a secret from a file that contains only the secret.
    ///
    /// A final newline is an error. It is not removed, because a tool that signs with the bytes of the file
    /// would then create another signature. Write the file with `printf %s`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the file cannot be read, or if [`new`](Self::new) rejects its content.
    ///
    /// ```
    /// use roomz_protocol::{Secret, SecretErrorKind};
    ///
    /// let error = Secret::from_file("/no/such/file").unwrap_err();
    /// assert_eq!(error.kind(), SecretErrorKind::Unreadable);
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SecretError> {
        let path = path.as_ref();
        // The full capacity avoids a reallocation, which would leave a copy of the secret in memory.
        let mut content = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
        let read = File::open(path)
            .and_then(|file| file.take(MAX_SECRET_BYTES as u64 + 1).read_to_end(&mut content));
        let subject = format!("the secret file {}", path.display());
        match read {
            Ok(_) => Self::checked(&content, &subject),
            Err(error) => {
                let problem = "cannot be read: check that it exists and that this user may read it";
                let unreadable = SecretError::new(SecretErrorKind::Unreadable, &subject, problem);
                Err(SecretError { source: Some(error), ..unreadable })
            }
        }
    }

    /// Signs a body: computes the HMAC-SHA512 of its bytes.
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
        Signature(mac.finalize().into_bytes().into())
    }

    /// Returns a copy of the keyed state, which is cheaper than to set up the key again (two hash blocks).
    pub(crate) fn mac(&self) -> HmacSha512 {
        HmacSha512::clone(&self.mac)
    }

    fn checked(secret: &[u8], subject: &str) -> Result<Self, SecretError> {
        let secret = check(secret).and_then(|()| Self::unchecked(secret));
        secret.map_err(|problem| SecretError::new(SecretErrorKind::Invalid, subject, problem))
    }

    /// Returns whether the secret looks copied with the syntax of a file: a quotation mark, `NAME=` in front,
    /// or `;` behind.
    ///
    /// It is valid, because ROOMZ may issue such a secret. The layer and the command `roomz` log a warning.
    ///
    /// ```
    /// # use roomz_protocol::Secret;
    /// assert!(Secret::new("\"the webhook secret\"")?.has_copied_syntax());
    /// assert!(Secret::new("ROOMZ_WEBHOOK_SECRET=the webhook secret")?.has_copied_syntax());
    /// assert!(!Secret::new("the webhook secret")?.has_copied_syntax());
    /// # Ok::<(), roomz_protocol::SecretError>(())
    /// ```
    #[must_use]
    pub const fn has_copied_syntax(&self) -> bool {
        self.has_copied_syntax
    }

    /// Creates a secret without the checks of [`new`](Self::new). Published test vectors have random keys.
    pub(crate) fn unchecked(key: &[u8]) -> Result<Self, &'static str> {
        // This cannot fail, because HMAC accepts keys of any length.
        let mac = HmacSha512::new_from_slice(key).map_err(|_| TOO_LONG)?;
        Ok(Self { mac: Arc::new(mac), has_copied_syntax: has_copied_syntax(key) })
    }
}

/// Returns what is wrong with a secret, and what to do.
fn check(secret: &[u8]) -> Result<(), &'static str> {
    // Bytes that are not UTF-8 are only checked for ASCII white space.
    let (trimmed_start, trimmed_end) = match std::str::from_utf8(secret) {
        Ok(text) => (text.trim_start().len(), text.trim_end().len()),
        Err(_) => (secret.trim_ascii_start().len(), secret.trim_ascii_end().len()),
    };
    Err(if secret.is_empty() {
        "is empty: use the webhook secret from ROOMZ"
    } else if secret.len() > MAX_SECRET_BYTES {
        TOO_LONG
    } else if is_utf16(secret) {
        "is UTF-16: save it as UTF-8 without a byte order mark"
    } else if secret.contains(&0) {
        "contains a NUL byte: remove it, because HMAC treats `k` and `k` followed by NUL as the same key"
    } else if trimmed_start == 0 {
        "is only white space: use the webhook secret from ROOMZ"
    } else if secret.ends_with(b"\n") {
        "ends with a newline, which would be part of the key: write it with `printf %s` instead of `echo`"
    } else if trimmed_start != secret.len() || trimmed_end != secret.len() {
        "begins or ends with white space, which would be part of the key: remove it"
    } else if std::str::from_utf8(secret).is_ok_and(|text| text.contains(is_invisible)) {
        "contains an invisible character, such as a byte order mark (U+FEFF) or U+200B, which would be part of \
         the key: type the secret again, or save the file as UTF-8 without a byte order mark"
    } else {
        return Ok(());
    })
}

fn has_copied_syntax(secret: &[u8]) -> bool {
    const QUOTES: &str = "\"'`“”„‘’‚«»‹›";
    let Ok(text) = std::str::from_utf8(secret) else { return false };
    let is_quote = |c| QUOTES.contains(c);
    // `NAME=` or `NAME: ` and more. Base64 may end with `=`.
    let has_name = text.split_once('=').or_else(|| text.split_once(": ")).is_some_and(|(name, rest)| {
        let name = name.trim_start_matches("export ").trim_end();
        let is_name =
            |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        !name.is_empty() && is_name(name) && !rest.trim_start_matches('=').is_empty()
    });
    has_name || text.starts_with(is_quote) || text.ends_with(is_quote) || text.ends_with([';', ','])
}

/// A byte order mark, or text in which every second byte is NUL, like ASCII in UTF-16 without a mark.
fn is_utf16(secret: &[u8]) -> bool {
    let is_nul_from = |start| secret.iter().skip(start).step_by(2).all(|byte| *byte == 0);
    let has_mark = secret.starts_with(b"\xff\xfe") || secret.starts_with(b"\xfe\xff");
    let is_long = secret.len() >= 4 && is_nul_from(0) != is_nul_from(1);
    secret.len().is_multiple_of(2) && (has_mark || is_long)
}

/// The format characters (`Cf`) and the other characters that Unicode 16 ignores by default.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}'
            | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}'
            | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}
