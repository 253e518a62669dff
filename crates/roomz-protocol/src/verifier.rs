use std::fmt;

use hmac::Mac as _;

use crate::secret::{HmacSha512, Secret};
use crate::signature::Signature;

/// The secrets that are valid now: one, or several while a secret is being replaced.
///
/// To rotate without losing a delivery: accept `[new, old]`, have ROOMZ switch, and drop `old` when its position has
/// not been seen for a day (see [`verify`](Self::verify)).
///
/// ```
/// use roomz_protocol::{Secret, Secrets};
///
/// let new = Secret::new("the new secret")?;
/// let old = Secret::new("the old secret")?;
/// let secrets = Secrets::new([new, old.clone()])?;
/// assert_eq!(secrets.verify(b"{}", &old.sign(b"{}")), Ok(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Secrets {
    first: Secret,
    others: Vec<Secret>,
}

impl Secrets {
    /// Collects secrets, in the order in which [`verify`](Self::verify) counts them.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] when there is none.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, NoSecret> {
        let mut secrets = secrets.into_iter();
        let first = secrets.next().ok_or(NoSecret(()))?;
        Ok(Self { first, others: secrets.collect() })
    }

    /// Whether the signature is that of the body under one of the secrets; gives that secret's position, from 0.
    ///
    /// Every secret is tried, and bytes are compared in constant time.
    ///
    /// # Errors
    ///
    /// [`SignatureMismatch`] when it is under none.
    pub fn verify(&self, body: &[u8], signature: &Signature) -> Result<usize, SignatureMismatch> {
        let mut verifier = self.verifier();
        verifier.update(body);
        verifier.verify(signature)
    }

    /// Begins to verify a body that arrives in pieces.
    ///
    /// ```
    /// use roomz_protocol::{Secret, Secrets};
    ///
    /// let secret = Secret::new("the webhook secret")?;
    /// let signature = secret.sign(b"in two pieces");
    ///
    /// let mut verifier = Secrets::from(secret).verifier();
    /// verifier.update(b"in two ");
    /// verifier.update(b"pieces");
    /// assert_eq!(verifier.verify(&signature), Ok(0));
    /// # Ok::<(), roomz_protocol::SecretError>(())
    /// ```
    pub fn verifier(&self) -> Verifier {
        Verifier { first: self.first.mac(), others: self.others.iter().map(Secret::mac).collect() }
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self { first: secret, others: Vec::new() }
    }
}

/// A verification under way, from [`Secrets::verifier`].
#[derive(Clone)]
#[must_use = "nothing is verified before `verify` is called"]
pub struct Verifier {
    // With one secret, the usual case, this costs no allocation.
    first: HmacSha512,
    others: Vec<HmacSha512>,
}

impl Verifier {
    /// Adds the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.first.update(piece);
        for mac in &mut self.others {
            mac.update(piece);
        }
    }

    /// Ends the verification; see [`Secrets::verify`].
    ///
    /// # Errors
    ///
    /// [`SignatureMismatch`] when the signature is not that of the body under any of the secrets.
    pub fn verify(self, signature: &Signature) -> Result<usize, SignatureMismatch> {
        let mut found = None;
        let macs = std::iter::once(self.first).chain(self.others);
        for (position, mac) in macs.enumerate() {
            let matches = mac.verify_slice(signature.as_bytes()).is_ok();
            if matches && found.is_none() {
                found = Some(position);
            }
        }
        found.ok_or(SignatureMismatch(()))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier([redacted])")
    }
}

/// The list of secrets was empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSecret(());

impl fmt::Display for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no secret was given: without one no delivery can be verified")
    }
}

impl std::error::Error for NoSecret {}

/// A signature is not that of the body under any of the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureMismatch(());

impl fmt::Display for SignatureMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature is not that of the body under any of the secrets")
    }
}

impl std::error::Error for SignatureMismatch {}
