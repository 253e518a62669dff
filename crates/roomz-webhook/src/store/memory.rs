use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, IdempotencyStore, Settled};
use super::key::{ClaimKey, Owner};
use super::memory_key::KeyHasher;
use super::memory_limit::InFlightLimit;
use super::memory_shard::{Change, Key, LimitReached, Shard};
use crate::clock::Clock;
use crate::telemetry;

/// The default store: in memory, **forgotten on restart**, not shared between instances, at most 1 000 000 handled ids.
///
/// A duplicate runs its handler again after a restart, on another instance, or after 1 000 000 newer ids. If that matters,
/// use a shared, durable store.
///
/// **Size it** for `sensors × changes per day × days of retention`: 5 000 sensors with 20 changes a day need 700 000 ids for
/// the default retention of 7 days, which take about 63 MB. When the store evicts an id before its retention ends, it logs
/// one warning (`memory store full`) and counts the evictions. Raise
/// [`with_capacity`](super::MemoryStoreBuilder::with_capacity), or shorten
/// [`with_retention`](crate::WebhookLayerBuilder::with_retention), which must still cover
/// [`with_max_age`](crate::WebhookLayerBuilder::with_max_age).
///
/// - Live claims are never evicted. At most 100 000 may be in flight; one more is a [`StoreError`] of the kind
///   [`Full`](super::StoreErrorKind::Full), which the layer answers with 503.
/// - Done and released ids are evicted from the oldest to the newest. The newest 1 000 000 are remembered, and up to
///   9 % more. Evictions before the end of the retention are counted ([`evicted_early`](Self::evicted_early)).
/// - One id takes about 90 bytes. Memory is allocated when ids arrive, and kept for later ids.
/// - A clone shares the claims. Give clones to several layers to share one store.
///
/// ```
/// use roomz_webhook::{Secret, WebhookLayer};
/// use roomz_webhook::store::MemoryStore;
///
/// let store = MemoryStore::builder().with_capacity(10_000_000).build();
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?).with_store(store).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) capacity: u64,
    pub(super) max_in_flight: usize,
    pub(super) clock: Arc<dyn Clock>,
}

struct Inner {
    settings: Settings,
    hasher: KeyHasher,
    /// Their number is a power of two.
    shards: Box<[LockedShard]>,
    in_flight: InFlightLimit,
    evicted_early: AtomicU64,
}

/// Aligned, so that two cores that use two shards do not write to the same cache line.
#[repr(align(128))]
struct LockedShard(Mutex<Shard>);

/// The ids of one shard. Large enough that the ids are distributed evenly, and small enough that the growth of one hash
/// table takes no longer than a few milliseconds.
const IDS_PER_SHARD: u64 = 16_384;
const MAX_SHARDS: u64 = 256;

/// Returns the number of shards, a power of two, and the capacity of each one.
///
/// The hash of the key selects the shard, so the newest `capacity` ids are not distributed exactly evenly: the number in
/// one shard has the standard deviation `sqrt(capacity / shards)`. A shard has room for eight times that, which is exceeded
/// with a probability below 10^-14.
fn shards(capacity: u64) -> (u64, usize) {
    let count = (capacity / IDS_PER_SHARD).clamp(1, MAX_SHARDS).next_power_of_two();
    let mean = capacity.div_ceil(count);
    let slack = if count == 1 { 0 } else { 8 * mean.isqrt() };
    (count, usize::try_from(mean.saturating_add(slack)).unwrap_or(usize::MAX))
}

impl MemoryStore {
    pub(super) fn with_settings(settings: Settings) -> Self {
        let (count, capacity) = shards(settings.capacity);
        let shards: Box<[_]> = (0..count).map(|_| LockedShard(Mutex::new(Shard::new(capacity)))).collect();
        let in_flight = InFlightLimit::new(settings.max_in_flight, shards.len());
        let (hasher, evicted_early) = (KeyHasher::default(), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { settings, hasher, shards, in_flight, evicted_early }) }
    }

    /// Returns how many ids were evicted before their retention ended, since the store was created.
    ///
    /// If it is above 0, raise the capacity or shorten the retention. The metric
    /// `roomz_webhook_evicted_early_total` counts the same.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.inner.evicted_early.load(Ordering::Relaxed)
    }

    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let Inner { hasher, in_flight, .. } = &*self.inner;
        let (key, fingerprint) = (hasher.key(key), hasher.fingerprint(claim.fingerprint));
        let shard = self.shard(key);
        let now = self.now();
        let claimed = shard.lock().claim(key, claim, fingerprint, now, in_flight);
        if let Ok(claim) = claimed {
            return Ok(claim);
        }
        self.evict_expired_leases(now);
        let claimed = shard.lock().claim(key, claim, fingerprint, now, in_flight);
        claimed.map_err(|LimitReached| StoreError::full())
    }

    fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Settled {
        let key = self.inner.hasher.key(key);
        let shard = self.shard(key);
        let now = self.now();
        shard.lock().renew(key, owner, lease, now, &self.inner.in_flight)
    }

    fn complete(&self, key: &ClaimKey, owner: Owner, retention: Duration) -> Settled {
        let key = self.inner.hasher.key(key);
        let shard = self.shard(key);
        let now = self.now();
        let change = shard.lock().complete(key, owner, retention, now, &self.inner.in_flight);
        self.report(change)
    }

    fn release(&self, key: &ClaimKey, owner: Owner) -> Settled {
        let key = self.inner.hasher.key(key);
        let shard = self.shard(key);
        let now = self.now();
        let change = shard.lock().release(key, owner, now, &self.inner.in_flight);
        self.report(change)
    }

    /// Claims whose lease ended make room for live ones.
    fn evict_expired_leases(&self, now: Duration) {
        for shard in &self.inner.shards {
            let evicted_early = shard.lock().evict_expired_leases(now, &self.inner.in_flight);
            self.report(Change { result: (), evicted_early });
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is below the number of shards, a power of two")]
    fn shard(&self, key: Key) -> &LockedShard {
        let shards = &self.inner.shards;
        &shards[self.inner.hasher.shard(key) as usize & (shards.len() - 1)]
    }

    fn now(&self) -> Duration {
        self.inner.settings.clock.monotonic()
    }

    /// Reports evictions. Called without a lock.
    fn report<T>(&self, change: Change<T>) -> T {
        for _ in 0..change.evicted_early {
            let is_first = self.inner.evicted_early.fetch_add(1, Ordering::Relaxed) == 0;
            telemetry::evicted_early(is_first, self.inner.settings.capacity);
        }
        change.result
    }
}

impl LockedShard {
    /// No panic leaves a shard half changed, so a poisoned lock is still usable.
    fn lock(&self) -> MutexGuard<'_, Shard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl IdempotencyStore for MemoryStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        Self::claim(self, key, claim)
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        Ok(Self::renew(self, key, owner, lease))
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        Ok(Self::complete(self, key, owner, retention))
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        Ok(Self::release(self, key, owner))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("capacity", &self.inner.settings.capacity)
            .field("max_in_flight", &self.inner.settings.max_in_flight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_store_has_exact_capacity() {
        assert_eq!(shards(1), (1, 1));
        assert_eq!(shards(10_000), (1, 10_000));
    }

    #[test]
    fn shards_have_room_for_uneven_distribution() {
        assert_eq!(shards(1_000_000), (64, 15_625 + 8 * 125));
        assert_eq!(shards(u64::MAX).0, MAX_SHARDS);
        for capacity in [32_768, 100_000, 540_673, 1_000_000, 10_000_000] {
            let (count, each) = shards(capacity);
            let total = count * each as u64;
            assert!(total >= capacity && total * 100 <= capacity * 109, "{capacity}: {total}");
        }
    }
}
