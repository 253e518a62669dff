use std::sync::Arc;

use roomz_protocol::{EventId, Uuid};
use xxhash_rust::xxh3::xxh3_128;

/// The key of a record: a namespace and an event id.
///
/// The namespace separates receivers that share a store but not their events, such as staging and production.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    namespace: Arc<str>,
    id: EventId,
}

impl ClaimKey {
    /// Creates the key of an event in a namespace.
    #[must_use]
    pub const fn new(namespace: Arc<str>, id: EventId) -> Self {
        Self { namespace, id }
    }

    /// Returns the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the event id.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// Returns the key under which a second body with the same id is claimed as another event.
    pub(crate) fn with_body(&self, fingerprint: Fingerprint) -> Self {
        let id = self.id.as_uuid().as_u128() ^ u128::from_be_bytes(fingerprint.0);
        Self { namespace: Arc::clone(&self.namespace), id: Uuid::from_u128(id).into() }
    }
}

/// The holder of a claim: 128 random bits, new for each delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u128);

impl Owner {
    /// Creates a random owner.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Returns the bytes, for a store to keep.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Restores an owner from the bytes that a store kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// The fingerprint of a body: its 128-bit XXH3 hash, which is the same in every process and version.
///
/// It distinguishes two bodies with the same id. It does not depend on a secret, so it survives a rotation of
/// secrets. Only a holder of a secret can make two bodies with the same fingerprint, because an unsigned body
/// has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, derive_more::Debug)]
#[debug("Fingerprint({:032x})", u128::from_be_bytes(*_0))]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Computes the fingerprint of a body.
    ///
    /// ```
    /// use roomz_webhook::store::Fingerprint;
    ///
    /// assert_ne!(Fingerprint::of(b"{}"), Fingerprint::of(b"{ }"));
    /// ```
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(xxh3_128(body).to_be_bytes())
    }

    /// Returns the bytes, for a store to keep.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Restores a fingerprint from the bytes that a store kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shared stores keep fingerprints of other processes and versions. `xxhsum -H2` 0.8.1 prints the same
    /// ones.
    #[test]
    fn fingerprint_never_changes() {
        let fingerprint = |length| format!("{:?}", Fingerprint::of(&vec![b'x'; length]));
        assert_eq!(fingerprint(0), "Fingerprint(99aa06d3014798d86001c324468d497f)");
        assert_eq!(fingerprint(225), "Fingerprint(a89b424dc25af36c5625ec9f328faf01)");
        assert_eq!(fingerprint(300), "Fingerprint(125237ea2ad7bc7aa5d1b4607dc83554)");
    }

    #[test]
    fn store_keeps_every_bit() {
        let (owner, fingerprint) = (Owner::random(), Fingerprint::of(b"{}"));
        assert_eq!(Owner::from_bytes(owner.to_bytes()), owner);
        assert_eq!(Fingerprint::from_bytes(fingerprint.to_bytes()), fingerprint);
        let key = ClaimKey::new("roomz".into(), Uuid::from_u128(rand::random()).into());
        let other = key.with_body(fingerprint);
        assert_ne!(other, key);
        assert_eq!(other.with_body(fingerprint), key, "two ids with one body have two keys");
    }
}
