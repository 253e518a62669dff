use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::OnceLock;

use crate::store::key::{ClaimKey, Fingerprint, Owner};

/// A record's key in memory: see [`KeyHasher::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) [u64; 2]);

/// Makes the short forms that a store in memory keeps, with random keys of its own.
#[derive(Debug, Default)]
pub(super) struct KeyHasher {
    /// SipHash with a random key: nobody can choose two namespaces with the same hash.
    namespaces: RandomState,
    /// The first namespace and its hash: to compute it for each operation takes 580 of the 36 000
    /// instructions of a new event. A layer without tenants has only this one.
    first_namespace: OnceLock<(Box<str>, [u64; 2])>,
    /// A faster hash, for values that are distributed evenly already.
    fast: foldhash::fast::RandomState,
}

impl KeyHasher {
    /// Returns the event id, with a 128-bit keyed hash of the namespace added without carry.
    ///
    /// Two ids of one namespace never have the same key. Two ids of different namespaces have the same key
    /// with a probability of 2^-128, and nobody who does not know the random key can find such ids.
    pub(super) fn key(&self, key: &ClaimKey) -> Key {
        let namespace = key.namespace();
        let (first, hash) =
            self.first_namespace.get_or_init(|| (namespace.into(), self.namespace(namespace)));
        let hash = if **first == *namespace { *hash } else { self.namespace(namespace) };
        let (high, low) = key.id().as_uuid().as_u64_pair();
        Key([high ^ hash[0], low ^ hash[1]])
    }

    fn namespace(&self, namespace: &str) -> [u64; 2] {
        let mut hasher = self.namespaces.build_hasher();
        namespace.hash(&mut hasher);
        let first = hasher.finish();
        hasher.write_u8(0);
        [first, hasher.finish()]
    }

    /// Returns 64 bits that identify an owner among the few owners of one event. They are never 0.
    pub(super) fn owner(&self, owner: Owner) -> u64 {
        self.fast.hash_one(owner).max(1)
    }

    pub(super) fn fingerprint(&self, fingerprint: Fingerprint) -> u64 {
        self.fast.hash_one(fingerprint)
    }

    /// Returns a number that selects the shard of this key.
    pub(super) fn shard(&self, key: Key) -> u64 {
        self.fast.hash_one(key)
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
        assert_eq!(other, hasher.key(&key("other", 1)));
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
