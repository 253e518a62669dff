use foldhash::fast::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::key_hasher::Key;
use super::record::Record;
use super::shard::IdleIds;

/// A shard's ids in a moka cache. Only the owner of the shard's lock calls it, so `ids` is exact.
#[derive(Debug)]
pub(super) struct MokaIds {
    /// Created with the first id, because an empty cache takes memory and time too, and a store has many.
    cache: Option<Cache<Key, Record, RandomState>>,
    capacity: u64,
    /// moka counts entries and evicts them later, some at a time.
    ids: u64,
    /// No id expires before this time.
    first_expiry: u64,
    next_sweep: u64,
}

/// How long expired ids may keep their memory: ten minutes. A sweep visits every id.
const SWEEP_INTERVAL_MILLIS: u64 = 600_000;

impl IdleIds for MokaIds {
    fn with_capacity(capacity: u64) -> Self {
        Self { cache: None, capacity, ids: 0, first_expiry: u64::MAX, next_sweep: 0 }
    }

    fn get(&self, key: &Key) -> Option<Record> {
        // `get` also records misses, which costs more than a second lookup of the few ids that are found.
        self.cache.as_ref().filter(|cache| cache.contains_key(key))?.get(key)
    }

    fn insert(&mut self, key: Key, record: Record, is_new: bool, now: u64) -> bool {
        if now >= self.next_sweep {
            self.free_expired(now);
        }
        let cache = self.cache.get_or_insert_with(|| {
            // moka's default policy, TinyLFU, refuses new ids when the cache is full.
            let builder = Cache::builder().max_capacity(self.capacity);
            builder.eviction_policy(EvictionPolicy::lru()).build_with_hasher(RandomState::default())
        });
        // A known id may have been evicted or freed since its claim.
        let is_new = is_new || !cache.contains_key(&key);
        let evicts = is_new && self.ids >= self.capacity;
        self.ids += u64::from(is_new && !evicts);
        // The oldest id leaves, which expires first.
        let evicts_early = evicts && now < self.first_expiry;
        self.first_expiry = self.first_expiry.min(record.expiry());
        cache.insert(key, record);
        evicts_early
    }
}

impl MokaIds {
    /// Frees the memory of expired ids. Expiry by moka takes 48 bytes per id, and uses another clock than the
    /// store.
    fn free_expired(&mut self, now: u64) {
        self.next_sweep = now.saturating_add(SWEEP_INTERVAL_MILLIS);
        (self.ids, self.first_expiry) = (0, u64::MAX);
        let Some(cache) = &self.cache else { return };
        cache.run_pending_tasks();
        for (key, record) in cache {
            if record.expiry() > now {
                self.ids += 1;
                self.first_expiry = self.first_expiry.min(record.expiry());
            } else {
                cache.invalidate(&*key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweep_frees_expired_ids() {
        let mut ids = MokaIds::with_capacity(1_000);
        for number in 0..100 {
            let expiry = if number == 0 { u64::MAX } else { 10 };
            ids.insert(Key([number, 0]), Record::new(1, 1, expiry, 0), true, 0);
        }
        ids.insert(Key([100, 0]), Record::new(1, 1, u64::MAX, 0), true, SWEEP_INTERVAL_MILLIS);
        let cache = ids.cache.unwrap();
        cache.run_pending_tasks();
        assert_eq!((ids.ids, cache.entry_count()), (2, 2));
    }
}
