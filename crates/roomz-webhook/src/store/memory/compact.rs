use foldhash::fast::RandomState;
use hashlink::LinkedHashMap;

use super::key_hasher::Key;
use super::record::Record;
use super::shard::IdleIds;

/// A shard's ids, from the oldest to the newest.
#[derive(Debug)]
pub(super) struct CompactIds {
    ids: LinkedHashMap<Key, Record, RandomState>,
    capacity: usize,
}

impl IdleIds for CompactIds {
    fn with_capacity(capacity: u64) -> Self {
        Self { ids: LinkedHashMap::default(), capacity: usize::try_from(capacity).unwrap_or(usize::MAX) }
    }

    fn get(&self, key: &Key) -> Option<Record> {
        self.ids.get(key).copied()
    }

    /// The map keeps the memory of removed ids for new ones.
    fn insert(&mut self, key: Key, record: Record, _: bool, now: u64) -> bool {
        self.ids.insert(key, record);
        while self.ids.front().is_some_and(|(_, oldest)| oldest.expiry() <= now) {
            self.ids.pop_front();
        }
        self.ids.len() > self.capacity && self.ids.pop_front().is_some()
    }
}
