use std::fmt;
use std::sync::Arc;

use roomz_protocol::{EventId, Uuid};
use sha2::{Digest as _, Sha256};

/// What a record is found by: a namespace and an event's id.
///
/// The namespace keeps receivers apart that share a store but not their events, such as staging and production.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    namespace: Arc<str>,
    id: EventId,
}

impl ClaimKey {
    /// The key of an event in a namespace.
    #[must_use]
    pub const fn new(namespace: Arc<str>, id: EventId) -> Self {
        Self { namespace, id }
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The event's id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// The key of another body with the same id, which is then an event of its own.
    pub(crate) fn of_other_body(&self, fingerprint: Fingerprint) -> Self {
        let id = self.id.as_uuid().as_u128() ^ u128::from_be_bytes(fingerprint.0);
        Self { namespace: Arc::clone(&self.namespace), id: Uuid::from_u128(id).into() }
    }
}

/// Who holds a claim: 128 random bits, new for each delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u128);

impl Owner {
    /// A new owner.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The bits, for storing them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// An owner read back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Tells two bodies apart that carry the same id: the first 128 bits of the body's SHA-256.
///
/// It does not depend on a secret, so that it stays the same while secrets are rotated and gives nothing away.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a body.
    ///
    /// ```
    /// use roomz_webhook::store::Fingerprint;
    ///
    /// assert_ne!(Fingerprint::of(b"{}"), Fingerprint::of(b"{ }"));
    /// ```
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let hash = Sha256::digest(body);
        let mut first = [0; 16];
        first.copy_from_slice(hash.split_at(16).0);
        Self(first)
    }

    /// The bits, for storing them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// A fingerprint read back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", u128::from_be_bytes(self.0))
    }
}
