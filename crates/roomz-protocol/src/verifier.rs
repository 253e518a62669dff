use std::fmt;

use hmac::Mac as _;

use crate::error_debug::write_message_and_sources;
use crate::secret::{HmacSha512, Secret};
use crate::signature::Signature;

/// The valid secrets: one, or several during a rotation.
///
/// To rotate without losing a delivery, accept `[new, old]`, change the secret at ROOMZ, and remove `old` when
/// [`verify`](Self::verify) has not returned its position for a day.
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
    /// Creates a set of secrets. [`verify`](Self::verify) returns positions in this order.
    ///
    /// # Errors
    ///
    /// [`NoSecret`] if `secrets` is empty.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, NoSecret> {
        let mut secrets = secrets.into_iter();
        let first = secrets.next().ok_or(NoSecret(()))?;
        Ok(Self { first, others: secrets.collect() })
    }

    /// Returns the number of secrets, at least 1.
    ///
    /// ```
    /// use roomz_protocol::{Secret, Secrets};
    ///
    /// let secrets = Secrets::new([Secret::new("the new secret")?, Secret::new("the old secret")?])?;
    /// assert_eq!(secrets.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Verifies the signature of a body and returns the position, from 0, of the secret that matches.
    ///
    /// Every secret is tried, and signatures are compared in constant time. If several secrets match, the first position
    /// is returned.
    ///
    /// # Errors
    ///
    /// [`SignatureMismatch`] if no secret matches.
    pub fn verify(&self, body: &[u8], signature: &Signature) -> Result<usize, SignatureMismatch> {
        let mut verifier = self.verifier();
        verifier.update(body);
        verifier.verify(signature)
    }

    /// Creates a verifier for a body that arrives in chunks.
    ///
    /// ```
    /// use roomz_protocol::{Secret, Secrets};
    ///
    /// let secret = Secret::new("the webhook secret")?;
    /// let signature = secret.sign(b"in two chunks");
    ///
    /// let mut verifier = Secrets::from(secret).verifier();
    /// verifier.update(b"in two ");
    /// verifier.update(b"chunks");
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

/// Verifies the signature of a body that arrives in chunks. Created by [`Secrets::verifier`].
#[derive(Clone)]
#[must_use = "nothing is verified until `verify` is called"]
pub struct Verifier {
    // A separate field avoids an allocation in the usual case of one secret.
    first: HmacSha512,
    others: Vec<HmacSha512>,
}

impl Verifier {
    /// Adds the next chunk of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        self.first.update(chunk);
        for mac in &mut self.others {
            mac.update(chunk);
        }
    }

    /// Verifies the signature of the whole body. See [`Secrets::verify`].
    ///
    /// # Errors
    ///
    /// [`SignatureMismatch`] if no secret matches.
    pub fn verify(self, signature: &Signature) -> Result<usize, SignatureMismatch> {
        // Every secret is tried even after a match, so that the time does not depend on the position.
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

/// The error of [`Secrets::new`] without a secret.
///
/// `Debug` prints the same message as `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct NoSecret(());

impl fmt::Display for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no secret: give at least one webhook secret from ROOMZ")
    }
}

impl fmt::Debug for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_message_and_sources(f, self)
    }
}

impl std::error::Error for NoSecret {}

/// The error of a signature that matches the body under none of the secrets.
///
/// `Debug` prints the same message as `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct SignatureMismatch(());

impl fmt::Display for SignatureMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature does not match the body under any of the secrets")
    }
}

impl fmt::Debug for SignatureMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_message_and_sources(f, self)
    }
}

impl std::error::Error for SignatureMismatch {}
