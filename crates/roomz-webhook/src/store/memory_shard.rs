use std::collections::HashMap;
use std::num::NonZeroU64;
use std::time::Duration;

use hashlink::{DefaultHashBuilder, LinkedHashMap};

use super::idempotency::{Claim, ClaimRequest, ClaimState, Settled};
use super::key::Owner;
use super::memory_limit::InFlightLimit;

/// A record's key in memory: see `KeyHasher`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) [u64; 2]);

/// One part of the ids, chosen by the hash of the key. It has a lock of its own.
#[derive(Debug, Default)]
pub(super) struct Shard {
    claims: HashMap<Key, Record, DefaultHashBuilder>,
    /// No lease ends before this time, so a search for ended leases before it finds nothing.
    first_lease_end: Duration,
    /// Done and released ids, and claims whose lease ended, from the oldest to the newest.
    idle: LinkedHashMap<Key, Idle, DefaultHashBuilder>,
    /// The number of nodes of `idle`, used and free.
    nodes: usize,
    capacity: usize,
}

/// The smallest number of nodes that are allocated together.
const MIN_NODES: usize = 128;

/// A claim in flight.
#[derive(Clone, Copy, Debug)]
struct Record {
    owner: Owner,
    fingerprint: u64,
    attempt: u32,
    lease_end: Duration,
    expiry: Duration,
}

/// An id that nobody runs. With its key it takes 40 bytes; a million of them are kept.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// The first half of the owner, who may still settle it. `None` after a release.
    owner: Option<NonZeroU64>,
    fingerprint: u64,
    /// The expiry in milliseconds, rounded up, above 20 bits for the attempt. The attempt of a done id is 0.
    expiry_and_attempt: u64,
}

/// What a settlement did, and how many ids it evicted before their retention ended.
#[derive(Debug)]
pub(super) struct Change<T> {
    pub(super) result: T,
    pub(super) evicted_early: u64,
}

/// The limit of claims in flight is reached.
#[derive(Debug)]
pub(super) struct LimitReached;

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// `fingerprint` is that of the claim, as 64 bits.
    pub(super) fn claim(
        &mut self,
        key: Key,
        claim: &ClaimRequest,
        fingerprint: u64,
        now: Duration,
        limit: &InFlightLimit,
    ) -> Result<Claim, LimitReached> {
        let mut new = Record {
            owner: claim.owner,
            fingerprint,
            attempt: 1,
            lease_end: now.saturating_add(claim.lease),
            expiry: now.saturating_add(claim.retention),
        };
        if let Some(record) = self.claims.get_mut(&key) {
            let matches = record.fingerprint == fingerprint;
            if record.owner != claim.owner {
                if record.lease_end > now {
                    let remaining = record.lease_end.saturating_sub(now);
                    return Ok(Claim::new(ClaimState::InFlight { remaining }, matches));
                }
                if record.expiry <= now {
                    *record = new;
                    self.first_lease_end = self.first_lease_end.min(new.lease_end);
                    return Ok(Claim::new(ClaimState::Claimed { attempt: 1 }, true));
                }
            }
            let is_owner = record.owner == claim.owner;
            new.attempt = if is_owner { record.attempt } else { record.attempt.saturating_add(1) };
            new.fingerprint = record.fingerprint;
            *record = new;
            self.first_lease_end = self.first_lease_end.min(new.lease_end);
            return Ok(Claim::new(ClaimState::Claimed { attempt: new.attempt }, matches));
        }

        let idle = self.idle(key, now);
        if let Some(idle) = idle
            && idle.is_done()
        {
            return Ok(Claim::new(ClaimState::Done, idle.fingerprint == fingerprint));
        }
        if !limit.acquire(self.claims.len()) {
            return Err(LimitReached);
        }
        if let Some(idle) = idle {
            new.fingerprint = idle.fingerprint;
            let is_owner = idle.is_owned_by(claim.owner);
            new.attempt = if is_owner { idle.attempt() } else { idle.attempt().saturating_add(1) };
            self.idle.remove(&key);
        }
        self.insert_claim(key, new);
        let matches = new.fingerprint == fingerprint;
        Ok(Claim::new(ClaimState::Claimed { attempt: new.attempt }, matches))
    }

    pub(super) fn renew(
        &mut self,
        key: Key,
        owner: Owner,
        lease: Duration,
        now: Duration,
        limit: &InFlightLimit,
    ) -> Settled {
        let Some(mut record) = self.held(key, owner, now) else { return Settled::Lost };
        record.lease_end = now.saturating_add(lease);
        record.expiry = record.expiry.max(record.lease_end);
        if !self.claims.contains_key(&key) {
            // The lease had ended and the claim could be evicted, but its owner is still alive.
            self.idle.remove(&key);
            limit.exceed(self.claims.len());
        }
        self.insert_claim(key, record);
        Settled::Applied
    }

    pub(super) fn complete(
        &mut self,
        key: Key,
        owner: Owner,
        retention: Duration,
        now: Duration,
        limit: &InFlightLimit,
    ) -> Change<Settled> {
        if let Some(record) = self.held(key, owner, now) {
            let expiry = now.saturating_add(retention);
            let idle = Idle::new(Some(owner), record.fingerprint, expiry, 0);
            return self.settle(key, idle, now, limit);
        }
        // The owner repeats a completion whose reply was lost.
        let repeated = self.idle(key, now).is_some_and(|idle| idle.is_done() && idle.is_owned_by(owner));
        Change { result: if repeated { Settled::Applied } else { Settled::Lost }, evicted_early: 0 }
    }

    pub(super) fn release(
        &mut self,
        key: Key,
        owner: Owner,
        now: Duration,
        limit: &InFlightLimit,
    ) -> Change<Settled> {
        match self.held(key, owner, now) {
            Some(record) => {
                let idle = Idle::new(None, record.fingerprint, record.expiry, record.attempt);
                self.settle(key, idle, now, limit)
            }
            None => Change { result: Settled::Lost, evicted_early: 0 },
        }
    }

    /// Moves claims whose lease ended to the idle ids, where they can be evicted.
    pub(super) fn evict_expired_leases(&mut self, now: Duration, limit: &InFlightLimit) -> u64 {
        if self.first_lease_end > now {
            return 0;
        }
        let ended: Vec<_> = self.claims.extract_if(|_, record| record.lease_end <= now).collect();
        self.first_lease_end =
            self.claims.values().map(|record| record.lease_end).min().unwrap_or(Duration::MAX);
        let mut evicted_early = 0;
        let live = self.claims.len();
        for (index, (key, record)) in ended.into_iter().enumerate() {
            limit.release(live + index);
            let idle = Idle::new(Some(record.owner), record.fingerprint, record.expiry, record.attempt);
            evicted_early += self.insert_idle(key, idle, now);
        }
        evicted_early
    }

    /// Returns the claim that this owner may settle. It is in flight, or idle after its lease ended.
    fn held(&self, key: Key, owner: Owner, now: Duration) -> Option<Record> {
        if let Some(record) = self.claims.get(&key) {
            let known = record.lease_end > now || record.expiry > now;
            return (known && record.owner == owner).then_some(*record);
        }
        let idle = self.idle(key, now).filter(|idle| !idle.is_done() && idle.is_owned_by(owner))?;
        Some(Record {
            owner,
            fingerprint: idle.fingerprint,
            attempt: idle.attempt(),
            lease_end: Duration::ZERO,
            expiry: idle.expiry(),
        })
    }

    fn idle(&self, key: Key, now: Duration) -> Option<Idle> {
        self.idle.get(&key).copied().filter(|idle| idle.expiry() > now)
    }

    fn insert_claim(&mut self, key: Key, record: Record) {
        if self.claims.is_empty() || record.lease_end < self.first_lease_end {
            self.first_lease_end = record.lease_end;
        }
        self.claims.insert(key, record);
    }

    fn settle(&mut self, key: Key, idle: Idle, now: Duration, limit: &InFlightLimit) -> Change<Settled> {
        if self.claims.remove(&key).is_some() {
            limit.release(self.claims.len());
        }
        Change { result: Settled::Applied, evicted_early: self.insert_idle(key, idle, now) }
    }

    /// Inserts the newest idle id. When there are too many, evicts the oldest one first, whose memory is then reused.
    fn insert_idle(&mut self, key: Key, idle: Idle, now: Duration) -> u64 {
        let mut evicted_early = 0;
        if self.idle.len() >= self.capacity && !self.idle.contains_key(&key) {
            let evicted = self.idle.pop_front();
            evicted_early = u64::from(evicted.is_some_and(|(_, idle)| idle.expiry() > now));
        }
        if self.idle.len() >= self.nodes {
            self.allocate_nodes();
        }
        self.idle.insert(key, idle);
        evicted_early
    }

    /// Doubles the nodes, up to the capacity, by inserting ids and removing them: the map keeps the nodes of removed ids.
    ///
    /// So nodes are next to each other in memory. Allocated one by one, they would lie among the short-lived memory of the
    /// requests, and the allocator would search for memory between them. In a growing store, that took a tenth of the time
    /// of a request.
    fn allocate_nodes(&mut self) {
        let start = self.idle.len();
        self.nodes = (start * 2).max(MIN_NODES).min(self.capacity).max(start + 1);
        let unused = Idle::new(None, 0, Duration::ZERO, 0);
        let mut key = Key([0, 0]);
        while self.idle.len() < self.nodes {
            key.0[0] += 1;
            if !self.idle.contains_key(&key) {
                self.idle.insert(key, unused);
            }
        }
        while self.idle.len() > start {
            self.idle.pop_back();
        }
    }
}

impl Idle {
    const ATTEMPT_BITS: u32 = 20;
    const ATTEMPT_MAX: u64 = (1 << Self::ATTEMPT_BITS) - 1;

    /// Attempt 0 means done. An attempt above a million counts as a million.
    fn new(owner: Option<Owner>, fingerprint: u64, expiry: Duration, attempt: u32) -> Self {
        let millis = u64::try_from(expiry.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let millis = millis.min(u64::MAX >> Self::ATTEMPT_BITS);
        let expiry_and_attempt = millis << Self::ATTEMPT_BITS | u64::from(attempt).min(Self::ATTEMPT_MAX);
        Self { owner: owner.and_then(Self::owner_half), fingerprint, expiry_and_attempt }
    }

    /// An owner is random, so half of it identifies it among the few owners of one event.
    fn owner_half(owner: Owner) -> Option<NonZeroU64> {
        NonZeroU64::new((u128::from_be_bytes(owner.to_bytes()) >> 64) as u64)
    }

    fn is_owned_by(&self, owner: Owner) -> bool {
        self.owner.is_some() && self.owner == Self::owner_half(owner)
    }

    const fn expiry(&self) -> Duration {
        Duration::from_millis(self.expiry_and_attempt >> Self::ATTEMPT_BITS)
    }

    fn attempt(&self) -> u32 {
        u32::try_from(self.expiry_and_attempt & Self::ATTEMPT_MAX).unwrap_or(u32::MAX)
    }

    const fn is_done(&self) -> bool {
        self.expiry_and_attempt & Self::ATTEMPT_MAX == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The memory per id in the documentation depends on it: a node is this and two pointers.
    #[test]
    fn idle_id_takes_40_bytes() {
        assert_eq!(size_of::<(Key, Idle)>(), 40);
    }

    /// Also ids that are equal to those that are inserted for a moment to allocate nodes.
    #[test]
    fn growth_keeps_ids_and_their_order() {
        let (now, expiry) = (Duration::ZERO, Duration::from_secs(1));
        let mut shard = Shard::new(1_000);
        for number in 0..1_100 {
            let idle = Idle::new(None, number, expiry, 0);
            assert_eq!(shard.insert_idle(Key([number, 0]), idle, now), u64::from(number >= 1_000));
        }
        assert_eq!((shard.idle.len(), shard.nodes), (1_000, 1_000));
        let order = shard.idle.iter().map(|(key, idle)| (key.0[0], idle.fingerprint));
        assert!(order.eq((100..1_100).map(|number| (number, number))));
    }

    #[test]
    fn expiry_is_rounded_up_to_milliseconds() {
        let idle = |expiry| Idle::new(None, 0, expiry, 7);
        assert_eq!(idle(Duration::from_nanos(1)).expiry(), Duration::from_millis(1));
        assert_eq!(idle(Duration::from_millis(5)).expiry(), Duration::from_millis(5));
        assert!(idle(Duration::MAX).expiry() > Duration::from_secs(500 * 365 * 24 * 60 * 60));
        assert_eq!(idle(Duration::MAX).attempt(), 7);
    }

    #[test]
    fn attempt_of_idle_id_saturates() {
        let idle = |attempt| Idle::new(None, 0, Duration::from_secs(1), attempt);
        assert_eq!(idle(u32::MAX).attempt(), 1_048_575);
        assert_eq!(idle(u32::MAX).expiry(), Duration::from_secs(1));
        assert!(!idle(u32::MAX).is_done());
    }
}
