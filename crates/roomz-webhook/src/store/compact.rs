use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use hashlink::LinkedHashMap;

use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, IdempotencyStore, Settled};
use super::key::{ClaimKey, Owner};
use super::memory::{IdleIds, InMemoryBuilder, Key, Record, Shards};

/// A store in memory for more than a million ids: forgotten on restart, and not shared with other processes.
///
/// It has the contract and the settings of [`MokaStore`](super::MokaStore), and keeps the ids in linked hash
/// maps: 86 bytes each. [Which store in memory](crate::store#which-store-in-memory) compares the two.
///
/// ```
/// use roomz_webhook::{Secret, WebhookLayer, store::CompactStore};
///
/// let store = CompactStore::builder().with_capacity(10_000_000).build();
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?).with_store(store).build()?;
/// # drop(layer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CompactStore {
    shards: Arc<Shards<CompactIds>>,
}

impl CompactStore {
    /// Creates an empty store with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder with the default settings.
    pub fn builder() -> InMemoryBuilder<Self> {
        InMemoryBuilder::new(|settings| Self { shards: Arc::new(Shards::new(settings)) })
    }

    /// Returns how many ids were evicted before their retention ended: see
    /// [`MokaStore::evicted_early`](super::MokaStore::evicted_early).
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.shards.evicted_early()
    }
}

impl Default for CompactStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl IdempotencyStore for CompactStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.shards.claim(key, claim)
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        Ok(self.shards.renew(key, owner, lease))
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        Ok(self.shards.settle(key, owner, Some(retention)))
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        Ok(self.shards.settle(key, owner, None))
    }
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
    fn insert(&mut self, key: Key, record: Record, now: u64) -> bool {
        self.ids.insert(key, record);
        while self.ids.front().is_some_and(|(_, oldest)| oldest.expiry() <= now) {
            self.ids.pop_front();
        }
        self.ids.len() > self.capacity && self.ids.pop_front().is_some()
    }
}
