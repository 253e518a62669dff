use std::hash::{BuildHasher as _, RandomState};

use hashlink::DefaultHashBuilder;

use super::key::{ClaimKey, Fingerprint};
use super::memory_shard::Key;

/// Makes 16-byte keys and 8-byte fingerprints, with random keys of its own.
#[derive(Debug, Default)]
pub(super) struct KeyHasher {
    /// SipHash with a random key: nobody can choose two namespaces or two bodies with the same hash.
    keyed: RandomState,
    /// A faster hash, for uniform distribution only.
    shards: DefaultHashBuilder,
}

impl KeyHasher {
    /// Returns the event id, with a 128-bit keyed hash of the namespace added without carry.
    ///
    /// Two ids of one namespace never have the same key. Two ids of different namespaces have the same key with a
    /// probability of 2^-128, and nobody who does not know the random key can find such ids.
    pub(super) fn key(&self, key: &ClaimKey) -> Key {
        let (high, low) = key.id().as_uuid().as_u64_pair();
        let namespace = key.namespace();
        Key([high ^ self.keyed.hash_one((0_u8, namespace)), low ^ self.keyed.hash_one((1_u8, namespace))])
    }

    pub(super) fn fingerprint(&self, fingerprint: Fingerprint) -> u64 {
        self.keyed.hash_one(fingerprint.to_bytes())
    }

    /// Returns a number that selects the shard of this key.
    pub(super) fn shard(&self, key: Key) -> u64 {
        self.shards.hash_one(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, id: u128) -> ClaimKey {
        ClaimKey::new(namespace.into(), roomz_protocol::Uuid::from_u128(id).into())
    }

    #[test]
    fn namespaces_have_different_keys() {
        let hasher = KeyHasher::default();
        let (roomz, other) = (hasher.key(&key("roomz", 1)), hasher.key(&key("other", 1)));
        assert_eq!(roomz, hasher.key(&key("roomz", 1)));
        assert_ne!(roomz.0[0], other.0[0]);
        assert_ne!(roomz.0[1], other.0[1]);
        // The two halves of the hash are independent.
        assert_ne!(roomz.0[0], roomz.0[1] ^ 1);
    }

    /// Otherwise the keys of one process would tell the keys of another.
    #[test]
    fn each_store_has_random_key() {
        let (first, second) = (KeyHasher::default(), KeyHasher::default());
        assert_ne!(first.key(&key("roomz", 1)), second.key(&key("roomz", 1)));
        let fingerprint = Fingerprint::of(b"{}");
        assert_ne!(first.fingerprint(fingerprint), second.fingerprint(fingerprint));
    }
}
