use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, ClaimState, IdempotencyStore, Settled};
use super::key::{ClaimKey, Fingerprint, Owner};
use crate::clock::Clock;
use crate::telemetry;

/// The default store: in memory, **forgotten on restart**, not shared between instances, at most 100 000 handled ids.
///
/// A duplicate runs its handler again after a restart, on another instance, or after 100 000 newer ids. If that matters,
/// use a shared, durable store.
///
/// **Size it** for `workspaces × changes per day × days`: 1 000 workspaces with 10 changes a day need 70 000 ids for the
/// default retention of 7 days. 10 000 workspaces fill the default capacity in one day. When the store evicts an id before
/// its retention ends, it logs one warning (`memory store full`) and counts the evictions. Raise
/// [`with_capacity`](super::MokaStoreBuilder::with_capacity), or shorten
/// [`with_retention`](crate::WebhookLayerBuilder::with_retention), which must still cover
/// [`with_max_age`](crate::WebhookLayerBuilder::with_max_age).
///
/// - Live claims are never evicted. At most 100 000 may be in flight; one more is a [`StoreError`] of the kind
///   [`Full`](super::StoreErrorKind::Full), which the layer answers with 503.
/// - Done and released ids are in a [moka] cache that evicts the least recently used. Evictions before the end of the
///   retention are counted ([`evicted_early`](Self::evicted_early)). One id takes about 450 bytes, a full cache 45 MB.
/// - A clone shares the claims. Give clones to several layers to share one store.
///
/// ```
/// use roomz_webhook::{Secret, WebhookLayer};
/// use roomz_webhook::store::MokaStore;
///
/// let store = MokaStore::builder().with_capacity(1_000_000).build();
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?).with_store(store).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MokaStore {
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
    in_flight: Mutex<InFlight>,
    /// Done and released ids, and claims whose lease ended. It is used only under the lock of `in_flight`, so that moving a
    /// record between the two is atomic.
    idle: Cache<ClaimKey, Idle>,
    evicted_early: Arc<AtomicU64>,
}

#[derive(Default)]
struct InFlight {
    claims: HashMap<ClaimKey, Record>,
    /// No lease ends before this time, so a search for ended leases before it finds nothing.
    first_lease_end: Duration,
}

#[derive(Clone, Copy)]
struct Record {
    owner: Owner,
    fingerprint: Fingerprint,
    attempt: u32,
    lease_end: Duration,
    expiry: Duration,
}

#[derive(Clone, Copy)]
struct Idle {
    done: bool,
    /// The owner who may still settle it. `None` after a release.
    owner: Option<Owner>,
    fingerprint: Fingerprint,
    attempt: u32,
    expiry: Duration,
}

impl MokaStore {
    pub(super) fn with_settings(settings: Settings) -> Self {
        let evicted_early = Arc::new(AtomicU64::new(0));
        let idle = Cache::builder()
            .max_capacity(settings.capacity)
            // moka's default policy (TinyLFU) rejects new keys when the cache is full, so a duplicate of such a key would run its handler again.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener({
                let evicted_early = Arc::clone(&evicted_early);
                let clock = Arc::clone(&settings.clock);
                let capacity = settings.capacity;
                move |_, idle: Idle, cause| {
                    if cause == RemovalCause::Size && idle.expiry > clock.monotonic() {
                        let is_first = evicted_early.fetch_add(1, Ordering::Relaxed) == 0;
                        telemetry::evicted_early(is_first, capacity);
                    }
                }
            })
            .build();
        Self { inner: Arc::new(Inner { settings, in_flight: Mutex::default(), idle, evicted_early }) }
    }

    /// Returns how many ids were evicted before their retention ended, since the store was created.
    ///
    /// If it is above 0, raise the capacity or shorten the retention. The metric
    /// `roomz_webhook_evicted_early_total` counts the same.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.inner.evicted_early.load(Ordering::Relaxed)
    }

    /// No panic leaves the map half changed, so a poisoned lock is still usable.
    fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.inner.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self, key: &ClaimKey, now: Duration) -> Option<Idle> {
        // Most ids are new. Unlike `get`, `contains_key` does not record an access, which costs more than the lookup.
        if !self.inner.idle.contains_key(key) {
            return None;
        }
        self.inner.idle.get(key).filter(|idle| idle.expiry > now)
    }

    /// When the store is full, moves claims whose lease ended to the cache, where they can be evicted.
    fn evict_expired_leases(&self, in_flight: &mut InFlight, now: Duration) -> Result<(), StoreError> {
        if in_flight.claims.len() < self.inner.settings.max_in_flight {
            return Ok(());
        }
        if in_flight.first_lease_end <= now {
            in_flight.claims.retain(|key, record| {
                let live = record.lease_end > now;
                if !live {
                    self.inner.idle.insert(key.clone(), record.idle(false));
                }
                live
            });
            in_flight.first_lease_end =
                in_flight.claims.values().map(|record| record.lease_end).min().unwrap_or_default();
        }
        if in_flight.claims.len() < self.inner.settings.max_in_flight {
            Ok(())
        } else {
            Err(StoreError::full())
        }
    }

    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let now = self.inner.settings.clock.monotonic();
        let lease_end = now.saturating_add(claim.lease);
        let expiry = now.saturating_add(claim.retention);
        let mut in_flight = self.lock();

        if let Some(record) = in_flight.claims.get_mut(key) {
            let matches = record.fingerprint == claim.fingerprint;
            if record.owner != claim.owner {
                if record.lease_end > now {
                    let remaining = record.lease_end.saturating_sub(now);
                    return Ok(Claim::new(ClaimState::InFlight { remaining }, matches));
                }
                if record.expiry <= now {
                    *record = Record::first(claim, lease_end, expiry);
                    return Ok(Claim::new(ClaimState::Claimed { attempt: 1 }, true));
                }
                record.owner = claim.owner;
                record.attempt = record.attempt.saturating_add(1);
            }
            record.lease_end = lease_end;
            record.expiry = expiry;
            let attempt = record.attempt;
            in_flight.first_lease_end = in_flight.first_lease_end.min(lease_end);
            return Ok(Claim::new(ClaimState::Claimed { attempt }, matches));
        }

        let idle = self.idle(key, now);
        if let Some(idle) = idle
            && idle.done
        {
            return Ok(Claim::new(ClaimState::Done, idle.fingerprint == claim.fingerprint));
        }
        self.evict_expired_leases(&mut in_flight, now)?;
        let mut record = Record::first(claim, lease_end, expiry);
        if let Some(idle) = idle {
            record.fingerprint = idle.fingerprint;
            let is_owner = idle.owner == Some(claim.owner);
            record.attempt = if is_owner { idle.attempt } else { idle.attempt.saturating_add(1) };
            self.inner.idle.invalidate(key);
        }
        in_flight.insert(key, record);
        let matches = record.fingerprint == claim.fingerprint;
        Ok(Claim::new(ClaimState::Claimed { attempt: record.attempt }, matches))
    }

    fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Settled {
        let now = self.inner.settings.clock.monotonic();
        let lease_end = now.saturating_add(lease);
        let mut in_flight = self.lock();
        let Some(mut record) = self.held(&in_flight, key, owner, now) else { return Settled::Lost };
        record.lease_end = lease_end;
        record.expiry = record.expiry.max(lease_end);
        // The lease had ended and the claim was moved to the cache, but its owner is still alive.
        self.inner.idle.invalidate(key);
        in_flight.insert(key, record);
        Settled::Applied
    }

    /// Returns the claim that this owner may settle. It is in flight, or in the cache after its lease ended.
    fn held(&self, in_flight: &InFlight, key: &ClaimKey, owner: Owner, now: Duration) -> Option<Record> {
        match in_flight.claims.get(key) {
            Some(record) => {
                let known = record.lease_end > now || record.expiry > now;
                (known && record.owner == owner).then_some(*record)
            }
            None => match self.idle(key, now) {
                Some(Idle { done: false, owner: Some(held), fingerprint, attempt, expiry }) => (held
                    == owner)
                    .then_some(Record { owner, fingerprint, attempt, lease_end: Duration::ZERO, expiry }),
                _ => None,
            },
        }
    }

    fn complete(&self, key: &ClaimKey, owner: Owner, retention: Duration) -> Settled {
        let now = self.inner.settings.clock.monotonic();
        let mut in_flight = self.lock();
        if let Some(record) = self.held(&in_flight, key, owner, now) {
            let idle = Idle { expiry: now.saturating_add(retention), ..record.idle(true) };
            self.inner.idle.insert(key.clone(), idle);
            in_flight.claims.remove(key);
            return Settled::Applied;
        }
        // The owner repeats a completion whose reply was lost.
        match self.idle(key, now) {
            Some(idle) if idle.done && idle.owner == Some(owner) => Settled::Applied,
            _ => Settled::Lost,
        }
    }

    fn release(&self, key: &ClaimKey, owner: Owner) -> Settled {
        let now = self.inner.settings.clock.monotonic();
        let mut in_flight = self.lock();
        let Some(record) = self.held(&in_flight, key, owner, now) else { return Settled::Lost };
        self.inner.idle.insert(key.clone(), Idle { owner: None, ..record.idle(false) });
        in_flight.claims.remove(key);
        Settled::Applied
    }
}

impl InFlight {
    fn insert(&mut self, key: &ClaimKey, record: Record) {
        if self.claims.is_empty() || record.lease_end < self.first_lease_end {
            self.first_lease_end = record.lease_end;
        }
        self.claims.insert(key.clone(), record);
    }
}

impl Record {
    const fn first(claim: &ClaimRequest, lease_end: Duration, expiry: Duration) -> Self {
        Self { owner: claim.owner, fingerprint: claim.fingerprint, attempt: 1, lease_end, expiry }
    }

    const fn idle(&self, done: bool) -> Idle {
        Idle {
            done,
            owner: Some(self.owner),
            fingerprint: self.fingerprint,
            attempt: self.attempt,
            expiry: self.expiry,
        }
    }
}

#[async_trait]
impl IdempotencyStore for MokaStore {
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

impl fmt::Debug for MokaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MokaStore")
            .field("capacity", &self.inner.settings.capacity)
            .field("max_in_flight", &self.inner.settings.max_in_flight)
            .finish_non_exhaustive()
    }
}
