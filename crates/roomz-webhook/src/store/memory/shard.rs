use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::key_hasher::Key;
use super::record::{Record, after};
use super::totals::Totals;
use crate::store::idempotency::{Claim, ClaimState, OwnerUpdate, Settled};

/// The ids of a shard that are not in flight: done, released, or with an ended lease.
pub(super) trait IdleIds: Send + 'static {
    fn with_capacity(capacity: u64) -> Self;

    fn get(&self, key: &Key) -> Option<Record>;

    /// Inserts the newest id. Returns whether another id was evicted before it expired, because there are too
    /// many. With `is_new`, the id has no record here.
    fn insert(&mut self, key: Key, record: Record, is_new: bool, now: u64) -> bool;
}

/// A part of the ids, chosen by the hash of the key. It has a lock of its own, under which each state change
/// happens.
///
/// An id in `claims` may also have an outdated record in `idle`, which its settlement replaces.
#[derive(Debug)]
pub(super) struct Shard<I> {
    /// The claims in flight, which are never evicted.
    claims: HashMap<Key, InFlight, RandomState>,
    /// No lease ends before this time, so a search for ended leases before it finds nothing.
    first_lease_end: u64,
    idle: I,
    totals: Arc<Totals>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) record: Record,
    pub(super) lease_end: u64,
    /// The idle ids had no record of the id when it was claimed, so they have none now.
    pub(super) is_new: bool,
}

impl<I: IdleIds> Shard<I> {
    pub(super) fn new(idle: I, totals: Arc<Totals>) -> Self {
        Self { claims: HashMap::default(), first_lease_end: u64::MAX, idle, totals }
    }

    /// `new` is the claim as the first attempt. Returns `None` if the limit of claims in flight is reached.
    pub(super) fn claim(&mut self, key: Key, mut new: InFlight, now: u64) -> Option<Claim> {
        let mut matches = true;
        let (known, is_new) = self.known(&key, now);
        new.is_new = is_new;
        if let Some(InFlight { record, lease_end, .. }) = known {
            matches = record.fingerprint == new.record.fingerprint;
            let mut attempt = record.attempt();
            if record.is_done() {
                return Some(Claim::new(ClaimState::Done, matches));
            }
            if record.owner != new.record.owner {
                if lease_end > now {
                    let remaining = Duration::from_millis(lease_end - now);
                    return Some(Claim::new(ClaimState::InFlight { remaining }, matches));
                }
                attempt += 1;
            }
            new.record = Record::new(new.record.owner, record.fingerprint, new.record.expiry(), attempt);
        }
        let state = ClaimState::Claimed { attempt: new.record.attempt() };
        self.insert_claim(key, new, self.totals.max_in_flight).then(|| Claim::new(state, matches))
    }

    pub(super) fn update(&mut self, key: Key, owner: u64, update: OwnerUpdate, now: u64) -> Settled {
        let (known, is_new) = self.known(&key, now);
        let Some(InFlight { record, .. }) = known.filter(|known| known.record.owner == owner) else {
            return Settled::Lost;
        };
        let record = match update {
            // The owner repeats a completion whose reply was lost.
            OwnerUpdate::Complete { .. } if record.is_done() => return Settled::Applied,
            _ if record.is_done() => return Settled::Lost,
            OwnerUpdate::Renew { lease } => {
                let lease_end = after(now, lease);
                let expiry = record.expiry().max(lease_end);
                let record = Record::new(owner, record.fingerprint, expiry, record.attempt());
                // No limit: if the lease had ended and the claim was evicted, its owner is still alive.
                self.insert_claim(key, InFlight { record, lease_end, is_new }, usize::MAX);
                return Settled::Applied;
            }
            OwnerUpdate::Complete { retention } => record.done(after(now, retention)),
            OwnerUpdate::Release => record.released(),
        };
        if self.claims.remove(&key).is_some() {
            self.totals.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        let evicted_early = self.idle.insert(key, record, is_new, now);
        self.totals.count_early_eviction(evicted_early);
        Settled::Applied
    }

    /// Moves claims whose lease ended to the idle ids, where they can be evicted.
    pub(super) fn evict_ended_leases(&mut self, now: u64) {
        if self.first_lease_end > now {
            return;
        }
        let ended: Vec<_> = self.claims.extract_if(|_, claim| claim.lease_end <= now).collect();
        self.first_lease_end = self.claims.values().map(|claim| claim.lease_end).min().unwrap_or(u64::MAX);
        self.totals.in_flight.fetch_sub(ended.len(), Ordering::Relaxed);
        for (key, claim) in ended {
            let evicted_early = self.idle.insert(key, claim.record, claim.is_new, now);
            self.totals.count_early_eviction(evicted_early);
        }
    }

    /// Returns what is known of an id, and whether the idle ids have no record of it. The lease of an idle id
    /// has ended.
    fn known(&self, key: &Key, now: u64) -> (Option<InFlight>, bool) {
        let idle = || self.idle.get(key).map(|record| InFlight { record, lease_end: 0, is_new: false });
        let known = self.claims.get(key).copied().or_else(idle);
        let is_new = known.is_none_or(|known| known.is_new);
        (known.filter(|known| known.lease_end > now || known.record.expiry() > now), is_new)
    }

    /// Returns whether there is room for the claim.
    fn insert_claim(&mut self, key: Key, claim: InFlight, max_in_flight: usize) -> bool {
        match self.claims.entry(key) {
            Entry::Occupied(mut known) => *known.get_mut() = claim,
            Entry::Vacant(vacant) => {
                let in_flight = &self.totals.in_flight;
                if in_flight.fetch_add(1, Ordering::Relaxed) >= max_in_flight {
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                    return false;
                }
                vacant.insert(claim);
            }
        }
        self.first_lease_end = self.first_lease_end.min(claim.lease_end);
        true
    }
}
