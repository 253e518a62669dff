use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::store::{ClaimKey, Fingerprint};

/// How many claims may be given back in the background that nobody knows to be there: in all, and of one event.
const MOST_ORPHANS: (usize, usize) = (1_000, 8);
/// How many settlements are tried again at the same time, so that a store that comes back is not run down.
const TURNS: usize = 32;

/// What this process knows and could not yet tell the store.
#[derive(Debug)]
pub(crate) struct Background {
    handled: Mutex<HashMap<ClaimKey, Fingerprint>>,
    orphans: Mutex<Orphans>,
    pub(crate) turns: Semaphore,
}

#[derive(Debug, Default)]
struct Orphans {
    of: HashMap<ClaimKey, usize>,
    all: usize,
}

impl Background {
    pub(crate) fn new() -> Self {
        Self { handled: Mutex::default(), orphans: Mutex::default(), turns: Semaphore::new(TURNS) }
    }

    /// The event was handled, and the store will be told.
    pub(crate) fn handled(&self, key: &ClaimKey, fingerprint: Fingerprint) {
        lock(&self.handled).insert(key.clone(), fingerprint);
    }

    /// The store knows, or never will.
    pub(crate) fn told(&self, key: &ClaimKey) {
        lock(&self.handled).remove(key);
    }

    /// With which body the event was handled, if the store may not know that it was.
    pub(crate) fn handled_body(&self, key: &ClaimKey) -> Option<Fingerprint> {
        lock(&self.handled).get(key).copied()
    }

    /// Whether a claim that may be there is to be given back. Their number is bounded, so that an outage under load does
    /// not end in a storm; what is not given back is free when its lease ends. Each delivery of an event may leave one.
    pub(crate) fn adopt_orphan(&self, key: &ClaimKey) -> bool {
        let mut orphans = lock(&self.orphans);
        let of_key = orphans.of.get(key).copied().unwrap_or_default();
        if orphans.all >= MOST_ORPHANS.0 || of_key >= MOST_ORPHANS.1 {
            return false;
        }
        orphans.all += 1;
        orphans.of.insert(key.clone(), of_key + 1);
        true
    }

    pub(crate) fn release_orphan(&self, key: &ClaimKey) {
        let mut orphans = lock(&self.orphans);
        orphans.all = orphans.all.saturating_sub(1);
        match orphans.of.get_mut(key) {
            Some(of_key @ 2..) => *of_key -= 1,
            _ => drop(orphans.of.remove(key)),
        }
    }
}

fn lock<T>(known: &Mutex<T>) -> MutexGuard<'_, T> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
