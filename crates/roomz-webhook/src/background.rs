use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::ClaimKey;

/// How many claims may be given back in the background that nobody knows to be there.
const MOST_ORPHANS: usize = 1_000;

/// What this process knows and could not yet tell the store.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Spares the lock to those who ask while the store is well, which is nearly always.
    handled_count: AtomicUsize,
    handled: Mutex<HashSet<ClaimKey>>,
    orphans: Mutex<HashSet<ClaimKey>>,
}

impl Background {
    /// The event was handled, and the store will be told.
    pub(crate) fn handled(&self, key: &ClaimKey) {
        if lock(&self.handled).insert(key.clone()) {
            self.handled_count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The store knows, or never will.
    pub(crate) fn told(&self, key: &ClaimKey) {
        if lock(&self.handled).remove(key) {
            self.handled_count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn is_handled(&self, key: &ClaimKey) -> bool {
        self.handled_count.load(Ordering::SeqCst) > 0 && lock(&self.handled).contains(key)
    }

    /// Whether a claim that may be there is to be given back: one for each event and a thousand in all, so that an
    /// outage under load does not end in a storm. What is not given back is free when its lease ends.
    pub(crate) fn adopt_orphan(&self, key: &ClaimKey) -> bool {
        let mut orphans = lock(&self.orphans);
        orphans.len() < MOST_ORPHANS && orphans.insert(key.clone())
    }

    pub(crate) fn release_orphan(&self, key: &ClaimKey) {
        lock(&self.orphans).remove(key);
    }
}

fn lock(keys: &Mutex<HashSet<ClaimKey>>) -> MutexGuard<'_, HashSet<ClaimKey>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}
