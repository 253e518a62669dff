use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::store::{ClaimKey, Fingerprint};

/// How many claims may be given back in the background that nobody knows to be there.
const MOST_ORPHANS: usize = 1_000;
/// How many settlements are tried again at the same time, so that a store that comes back is not run down.
const TURNS: usize = 32;

/// What this process knows and could not yet tell the store.
#[derive(Debug)]
pub(crate) struct Background {
    handled: Mutex<HashMap<ClaimKey, Fingerprint>>,
    orphans: Mutex<HashSet<ClaimKey>>,
    pub(crate) turns: Semaphore,
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

fn lock<T>(keys: &Mutex<T>) -> MutexGuard<'_, T> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}
