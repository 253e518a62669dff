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
const DEFAULT_MAX_RUNNING: usize = 100_000;

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
///   ([`forgotten`](Self::forgotten)). One costs about 450 bytes: 45 MB when full.
/// - A clone is the same store: give one to several layers to let them share it.
///
/// ```
/// use roomz_webhook::{MokaStore, Secret, WebhookLayer};
///
/// let store = MokaStore::new().with_capacity(1_000_000);
/// let layer = WebhookLayer::builder(Secret::new("the webhook secret")?).with_store(store).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MokaStore {
    settings: Settings,
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Settings {
    capacity: u64,
    max_running: usize,
    clock: Arc<dyn Clock>,
}

struct Inner {
    running: Mutex<Running>,
    /// Ids that nobody works on. Its operations run under the lock above, which makes a move between the two atomic.
    idle: Cache<ClaimKey, Idle>,
    forgotten: Arc<AtomicU64>,
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
    /// An empty store with the default bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::build(Settings {
            capacity: DEFAULT_CAPACITY,
            max_running: DEFAULT_MAX_RUNNING,
            clock: Arc::new(SystemClock::new()),
        })
    }

    /// How many ids that nobody works on are remembered. Default: 100 000; at least 1 is.
    ///
    /// Gives an empty store.
    #[must_use]
    pub fn with_capacity(self, capacity: u64) -> Self {
        Self::build(Settings { capacity: capacity.max(1), ..self.settings })
    }

    /// How many claims may run at the same time. Default: 100 000; at least 1 may.
    ///
    /// Gives an empty store.
    #[must_use]
    pub fn with_max_running(self, max_running: usize) -> Self {
        Self::build(Settings { max_running: max_running.max(1), ..self.settings })
    }

    /// Where leases and retention take their time from. Default: [`SystemClock`].
    ///
    /// Gives an empty store.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::build(Settings { clock: Arc::new(clock), ..self.settings })
    }

    /// How many ids were dropped for want of room before their retention had ended, since this store was made.
    ///
    /// More than 0 means: raise the capacity, or shorten the retention.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.inner.forgotten.load(Ordering::Relaxed)
    }

    fn build(settings: Settings) -> Self {
        let forgotten = Arc::new(AtomicU64::new(0));
        let idle = Cache::builder()
            .max_capacity(settings.capacity)
            // moka's default (TinyLFU) refuses new keys when the cache is full: the one thing that must not happen.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener({
                let forgotten = Arc::clone(&forgotten);
                let clock = Arc::clone(&settings.clock);
                move |_, idle: Idle, cause| {
                    if cause == RemovalCause::Size && idle.expiry > clock.monotonic() {
                        forgotten.fetch_add(1, Ordering::Relaxed);
                        measure::forgotten();
                    }
                }
            })
            .build();
        Self { settings, inner: Arc::new(Inner { running: Mutex::default(), idle, forgotten }) }
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
        if running.claims.len() < self.settings.max_running {
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
        if running.claims.len() < self.settings.max_running { Ok(()) } else { Err(StoreError::full()) }
    }

    fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let now = self.settings.clock.monotonic();
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
        let now = self.settings.clock.monotonic();
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
        let now = self.settings.clock.monotonic();
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
        let now = self.settings.clock.monotonic();
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
            .field("capacity", &self.settings.capacity)
            .field("max_running", &self.settings.max_running)
            .finish_non_exhaustive()
    }
}
