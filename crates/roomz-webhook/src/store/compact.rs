use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use hashlink::LinkedHashMap;

use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, IdempotencyStore, Settled};
use super::key::{ClaimKey, Owner};
use super::memory::{IdleIds, InMemory, InMemoryBuilder, Key, Record, Shards, memory_store};

memory_store! {
    /// A store in memory for more than a million ids: forgotten on restart, and not shared with other
    /// processes.
    ///
    /// It has the contract and the settings of [`MokaStore`](super::MokaStore), and keeps the ids in linked
    /// hash maps: 86 bytes each. [Which store in memory](crate::store#which-store-in-memory) compares the
    /// two.
    ///
    /// ```
    /// use roomz_webhook::{Secret, WebhookLayer, store::CompactStore};
    ///
    /// let store = CompactStore::builder().with_capacity(10_000_000).build();
    /// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?).with_store(store).build()?;
    /// # drop(layer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    CompactStore(CompactIds)
}

/// A shard's ids, from the oldest to the newest.
#[derive(Debug)]
struct CompactIds {
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
