//! The stores in memory. They share everything but the collection of the ids that are not in flight.

mod builder;
#[cfg(feature = "compact")]
mod compact;
mod key_hasher;
mod moka;
mod record;
mod shard;
mod totals;

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use self::builder::Settings;
#[cfg(feature = "compact")]
use self::compact::CompactIds;
use self::key_hasher::{Key, KeyHasher};
use self::moka::MokaIds;
use self::record::{Record, after};
use self::shard::{IdleIds, InFlight, Shard};
use self::totals::Totals;
use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, IdempotencyStore, OwnerUpdate, Settled};
use super::key::{ClaimKey, Owner};
use crate::clock::Clock;

pub use self::builder::InMemoryBuilder;

/// A store in memory, which replies at once: the boxed futures and the timeout of other stores would take 500
/// of the 35 500 instructions of a new event.
pub(crate) trait InMemory: Send + Sync {
    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError>;

    fn update(&self, key: &ClaimKey, owner: Owner, update: OwnerUpdate) -> Settled;
}

/// Defines a store in memory.
macro_rules! memory_store {
    ($(#[$docs:meta])* $name:ident($ids:ty)) => {
        $(#[$docs])*
        #[derive(Clone, Debug)]
        pub struct $name(Arc<Shards<$ids>>);

        impl $name {
            /// Creates an empty store with the default settings.
            #[must_use]
            pub fn new() -> Self {
                Self::builder().build()
            }

            /// Creates a builder with the default settings.
            pub fn builder() -> InMemoryBuilder<Self> {
                InMemoryBuilder::new(|settings| Self(Arc::new(Shards::new(settings))))
            }

            /// Returns how many ids were evicted before their retention ended, since the store was created.
            ///
            /// A `MokaStore` can miss those of the 10 min after an id expired.
            ///
            /// If it is above 0, raise the capacity or shorten the retention. The metric
            /// `roomz_webhook_evicted_early_total` counts the same.
            #[must_use]
            pub fn evicted_early(&self) -> u64 {
                self.0.evicted_early()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        #[async_trait]
        impl IdempotencyStore for $name {
            async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
                self.0.claim(key, claim)
            }

            async fn renew(
                &self,
                key: &ClaimKey,
                owner: Owner,
                lease: Duration,
            ) -> Result<Settled, StoreError> {
                Ok(self.0.update(key, owner, OwnerUpdate::Renew { lease }))
            }

            async fn complete(
                &self,
                key: &ClaimKey,
                owner: Owner,
                retention: Duration,
            ) -> Result<Settled, StoreError> {
                Ok(self.0.update(key, owner, OwnerUpdate::Complete { retention }))
            }

            async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
                Ok(self.0.update(key, owner, OwnerUpdate::Release))
            }
        }
    };
}

memory_store! {
    /// The default store, in memory: forgotten on restart, and not shared with other processes.
    ///
    /// It remembers 1 000 000 handled ids by default, in a moka cache. One id takes about 340 bytes once it
    /// arrives, so a full store takes 373 MB. When the store is full, the oldest id leaves. Claims in flight
    /// are outside the cache and never evicted: above 100 000 of them, a new event is answered 503. A clone
    /// shares the claims.
    ///
    /// [Which store in memory](crate::store#which-store-in-memory) compares it with `CompactStore`.
    MokaStore(MokaIds)
}

#[cfg(feature = "compact")]
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

/// Returns the store if it is one of this crate.
pub(super) fn in_memory(store: &dyn Any) -> Option<Arc<dyn InMemory>> {
    #[cfg(feature = "compact")]
    if let Some(CompactStore(shards)) = store.downcast_ref() {
        return Some(Arc::clone(shards) as _);
    }
    store.downcast_ref().map(|MokaStore(shards)| Arc::clone(shards) as _)
}

/// The claims of a store in memory, in shards with a lock each.
#[derive(derive_more::Debug)]
#[debug("{totals:?}")]
struct Shards<I> {
    clock: Arc<dyn Clock>,
    hasher: KeyHasher,
    /// Their number is a power of two.
    shards: Box<[Mutex<Shard<I>>]>,
    totals: Arc<Totals>,
}

/// The ids of one shard. Large enough that the ids are distributed evenly: a moka cache applies its changes
/// 64 at a time, when they are no longer in the processor's cache if there are many shards. Small enough that
/// a sweep of one shard takes some ten milliseconds at most.
const IDS_PER_SHARD: u64 = 131_072;
const MAX_SHARDS: u64 = 256;

/// Returns the number of shards, a power of two, and the capacity of each one.
///
/// The hash of the key selects the shard, so the newest `capacity` ids are not distributed exactly evenly:
/// the number in one shard has the standard deviation `sqrt(capacity / shards)`. A shard has room for eight
/// times that, which is exceeded with a probability below 10^-14.
fn shards(capacity: u64) -> (u64, u64) {
    let count = (capacity / IDS_PER_SHARD).clamp(1, MAX_SHARDS).next_power_of_two();
    let mean = capacity.div_ceil(count);
    let slack = if count == 1 { 0 } else { 8 * mean.isqrt() };
    (count, mean.saturating_add(slack))
}

impl<I: IdleIds> Shards<I> {
    fn new(settings: Settings) -> Self {
        let totals = Arc::new(Totals::new(settings.capacity, settings.max_in_flight));
        let (count, capacity) = shards(settings.capacity);
        let shard = |_| Mutex::new(Shard::new(I::with_capacity(capacity), Arc::clone(&totals)));
        let shards = (0..count).map(shard).collect();
        Self { clock: settings.clock, hasher: KeyHasher::default(), shards, totals }
    }

    fn evicted_early(&self) -> u64 {
        self.totals.evicted_early.load(Ordering::Relaxed)
    }

    #[expect(clippy::indexing_slicing, reason = "the index is below the number of shards, a power of two")]
    fn lock(&self, key: Key) -> MutexGuard<'_, Shard<I>> {
        lock(&self.shards[self.hasher.shard(key) as usize & (self.shards.len() - 1)])
    }

    fn now(&self) -> u64 {
        after(0, self.clock.monotonic())
    }
}

impl<I: IdleIds> InMemory for Shards<I> {
    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let (key, now) = (self.hasher.key(key), self.now());
        let (owner, fingerprint) =
            (self.hasher.owner(claim.owner), self.hasher.fingerprint(claim.fingerprint));
        let record = Record::new(owner, fingerprint, after(now, claim.retention), 1);
        let new = InFlight { record, lease_end: after(now, claim.lease), is_new: true };
        if let Some(claim) = self.lock(key).claim(key, new, now) {
            return Ok(claim);
        }
        // Claims whose lease ended make room for live ones.
        for shard in &self.shards {
            lock(shard).evict_ended_leases(now);
        }
        self.lock(key).claim(key, new, now).ok_or_else(StoreError::full)
    }

    fn update(&self, key: &ClaimKey, owner: Owner, update: OwnerUpdate) -> Settled {
        let (key, now) = (self.hasher.key(key), self.now());
        self.lock(key).update(key, self.hasher.owner(owner), update, now)
    }
}

/// No panic leaves a shard half changed, so a poisoned lock is still usable.
fn lock<I>(shard: &Mutex<Shard<I>>) -> MutexGuard<'_, Shard<I>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(shards(1_000_000), (8, 125_000 + 8 * 353));
        assert_eq!(shards(u64::MAX).0, MAX_SHARDS);
        for capacity in [262_144, 540_673, 1_000_000, 10_000_000] {
            let (count, each) = shards(capacity);
            let total = count * each;
            assert!(total >= capacity && total * 100 <= capacity * 104, "{capacity}: {total}");
        }
    }
}
