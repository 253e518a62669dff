use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
};
use crate::clock::{Clock, SystemClock};
use crate::measure;

const DEFAULT_CAPACITY: u64 = 100_000;
const DEFAULT_MAX_IN_FLIGHT: usize = 100_000;

/// The default store: in this process's memory, **forgotten on restart**, not shared with other instances, and it
/// remembers at most 100 000 finished ids.
///
/// A delivery that is repeated after a restart, to another instance, or after 100 000 newer ids runs its handler
/// again. When that matters, use a store that is shared and durable.
///
/// - Running claims are kept apart from what may be evicted: at most 100 000 of them; more is a
///   [`StoreError`] of the kind [`Full`](super::StoreErrorKind::Full), and the sender gets 503.
/// - Ids that nobody works on (finished ones, and failed ones with their attempt) are kept in a [moka] cache that
///   drops the least recently used, never refuses a new one, and counts what it drops before its time
///   ([`evicted_early`](Self::evicted_early)). One costs about 450 bytes: 45 MB when full.
/// - A clone is the same store: give one to several layers to let them share it.
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

/// Builds a [`MokaStore`]. Every setting has a default.
///
/// ```
/// use roomz_webhook::store::MokaStore;
///
/// let store = MokaStore::builder().with_capacity(1_000_000).with_max_in_flight(10_000).build();
/// # drop(store);
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to get the store"]
pub struct MokaStoreBuilder {
    capacity: u64,
    max_in_flight: usize,
    clock: Arc<dyn Clock>,
}

impl MokaStoreBuilder {
    /// Sets how many finished and released ids are remembered. Default: 100 000. Zero counts as 1.
    ///
    /// Raise it when [`evicted_early`](MokaStore::evicted_early) is above 0. One id takes about 450 bytes.
    ///
    /// ```
    /// # use roomz_webhook::store::MokaStore;
    /// let store = MokaStore::builder().with_capacity(1_000_000).build();
    /// ```
    pub fn with_capacity(mut self, capacity: u64) -> Self {
        self.capacity = capacity.max(1);
        self
    }

    /// Sets how many claims may be in flight at once. Default: 100 000. Zero counts as 1.
    ///
    /// A claim above it fails with [`StoreErrorKind::Full`](super::StoreErrorKind::Full), which the layer answers with
    /// 503. Lower it to bound memory.
    ///
    /// ```
    /// # use roomz_webhook::store::MokaStore;
    /// let store = MokaStore::builder().with_max_in_flight(1_000).build();
    /// ```
    pub fn with_max_in_flight(mut self, claims: usize) -> Self {
        self.max_in_flight = claims.max(1);
        self
    }

    /// Sets the clock for leases and retention. Default: [`SystemClock`]. Set it in tests.
    ///
    /// ```
    /// # use roomz_webhook::{SystemClock, store::MokaStore};
    /// let store = MokaStore::builder().with_clock(SystemClock::new()).build();
    /// ```
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Creates the store, which is empty.
    #[must_use]
    pub fn build(self) -> MokaStore {
        let evicted_early = Arc::new(AtomicU64::new(0));
        let idle = Cache::builder()
            .max_capacity(self.capacity)
            // moka's default policy (TinyLFU) rejects new keys when the cache is full, and a duplicate would run.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener({
                let evicted_early = Arc::clone(&evicted_early);
                let clock = Arc::clone(&self.clock);
                move |_, idle: Idle, cause| {
                    if cause == RemovalCause::Size && idle.expiry > clock.monotonic() {
                        evicted_early.fetch_add(1, Ordering::Relaxed);
                        measure::evicted_early();
                    }
                }
            })
            .build();
        let inner = Inner { settings: self, running: Mutex::default(), idle, evicted_early };
        MokaStore { inner: Arc::new(inner) }
    }
}

struct Inner {
    settings: MokaStoreBuilder,
    running: Mutex<Running>,
    /// Ids that nobody works on. Its operations run under the lock above, which makes a move between the two atomic.
    idle: Cache<ClaimKey, Idle>,
    evicted_early: Arc<AtomicU64>,
}

#[derive(Default)]
struct Running {
    claims: HashMap<ClaimKey, Record>,
    /// No lease ends before this: looking for dead claims earlier is in vain.
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
    /// Who may still settle it: not after a release.
    owner: Option<Owner>,
    fingerprint: Fingerprint,
    attempt: u32,
    expiry: Duration,
}

impl MokaStore {
    /// Creates an empty store with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder with the default settings.
    pub fn builder() -> MokaStoreBuilder {
        MokaStoreBuilder {
            capacity: DEFAULT_CAPACITY,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Returns how many ids were evicted before their retention ended, since the store was created.
    ///
    /// If it is above 0, raise the capacity or shorten the retention. The metric
    /// `roomz_webhook_evicted_early_total` counts the same.
    #[must_use]
    pub fn evicted_early(&self) -> u64 {
        self.inner.evicted_early.load(Ordering::Relaxed)
    }

    /// A panic cannot leave the map by half: the lock is good even when poisoned.
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self, key: &ClaimKey, now: Duration) -> Option<Idle> {
        // Most ids are new. Unlike `get`, this makes no note of having looked, which would cost more than looking.
        if !self.inner.idle.contains_key(key) {
            return None;
        }
        self.inner.idle.get(key).filter(|idle| idle.expiry > now)
    }

    /// Moves claims whose lease is over, if there can be any, to where they can be evicted.
    fn make_room(&self, running: &mut Running, now: Duration) -> Result<(), StoreError> {
        if running.claims.len() < self.inner.settings.max_in_flight {
            return Ok(());
        }
        if running.first_lease_end <= now {
            running.claims.retain(|key, record| {
                let live = record.lease_end > now;
                if !live {
                    self.inner.idle.insert(key.clone(), record.idle(false));
                }
                live
            });
            running.first_lease_end =
                running.claims.values().map(|record| record.lease_end).min().unwrap_or_default();
        }
        if running.claims.len() < self.inner.settings.max_in_flight {
            Ok(())
        } else {
            Err(StoreError::full())
        }
    }

    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let now = self.inner.settings.clock.monotonic();
        let lease_end = now.saturating_add(claim.lease);
        let expiry = now.saturating_add(claim.retention);
        let mut running = self.lock();

        if let Some(record) = running.claims.get_mut(key) {
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
            running.first_lease_end = running.first_lease_end.min(lease_end);
            return Ok(Claim::new(ClaimState::Claimed { attempt }, matches));
        }

        let idle = self.idle(key, now);
        if let Some(idle) = idle
            && idle.done
        {
            return Ok(Claim::new(ClaimState::Done, idle.fingerprint == claim.fingerprint));
        }
        self.make_room(&mut running, now)?;
        let mut record = Record::first(claim, lease_end, expiry);
        if let Some(idle) = idle {
            record.fingerprint = idle.fingerprint;
            let again = idle.owner == Some(claim.owner);
            record.attempt = if again { idle.attempt } else { idle.attempt.saturating_add(1) };
            self.inner.idle.invalidate(key);
        }
        running.insert(key, record);
        let matches = record.fingerprint == claim.fingerprint;
        Ok(Claim::new(ClaimState::Claimed { attempt: record.attempt }, matches))
    }

    fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Settled {
        let now = self.inner.settings.clock.monotonic();
        let lease_end = now.saturating_add(lease);
        let mut running = self.lock();
        let Some(mut record) = self.held(&running, key, owner, now) else { return Settled::Lost };
        record.lease_end = lease_end;
        record.expiry = record.expiry.max(lease_end);
        // A dead claim that was moved comes back: its owner was not dead.
        self.inner.idle.invalidate(key);
        running.insert(key, record);
        Settled::Applied
    }

    /// The claim that this owner may settle: a running one, or a dead one that was moved to make room.
    fn held(&self, running: &Running, key: &ClaimKey, owner: Owner, now: Duration) -> Option<Record> {
        match running.claims.get(key) {
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
        let mut running = self.lock();
        if let Some(record) = self.held(&running, key, owner, now) {
            let idle = Idle { expiry: now.saturating_add(retention), ..record.idle(true) };
            self.inner.idle.insert(key.clone(), idle);
            running.claims.remove(key);
            return Settled::Applied;
        }
        // A completion whose reply got lost.
        match self.idle(key, now) {
            Some(idle) if idle.done && idle.owner == Some(owner) => Settled::Applied,
            _ => Settled::Lost,
        }
    }

    fn release(&self, key: &ClaimKey, owner: Owner) -> Settled {
        let now = self.inner.settings.clock.monotonic();
        let mut running = self.lock();
        let Some(record) = self.held(&running, key, owner, now) else { return Settled::Lost };
        self.inner.idle.insert(key.clone(), Idle { owner: None, ..record.idle(false) });
        running.claims.remove(key);
        Settled::Applied
    }
}

impl Running {
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

impl Default for MokaStore {
    fn default() -> Self {
        Self::new()
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
