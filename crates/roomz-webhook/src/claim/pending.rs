use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::store::{ClaimKey, Fingerprint};

/// How many completions and releases are retried in the background at once. The others are abandoned.
const MAX_PENDING: usize = 10_000;
/// How many claims of unknown outcome are released in the background at once. The lease ends the others.
const MAX_UNCONFIRMED: usize = 1_000;
/// How many background settlements call the store at once, so that a store that recovers is not overloaded.
const MAX_CONCURRENT_RETRIES: usize = 32;

/// Settlements that the store has not confirmed yet.
#[derive(Debug)]
pub(crate) struct PendingSettlements {
    completed: Mutex<HashMap<ClaimKey, Fingerprint>>,
    permits: Arc<Semaphore>,
    unconfirmed_permits: Arc<Semaphore>,
    retry_permits: Semaphore,
}

impl Default for PendingSettlements {
    fn default() -> Self {
        Self {
            completed: Mutex::default(),
            permits: Arc::new(Semaphore::new(MAX_PENDING)),
            unconfirmed_permits: Arc::new(Semaphore::new(MAX_UNCONFIRMED)),
            retry_permits: Semaphore::new(MAX_CONCURRENT_RETRIES),
        }
    }
}

impl PendingSettlements {
    /// Remembers that the event was handled, until the store records it.
    pub(crate) fn insert_completed(&self, key: &ClaimKey, fingerprint: Fingerprint) {
        self.lock().insert(key.clone(), fingerprint);
    }

    /// Forgets the event, because the store recorded it or the settlement was abandoned.
    pub(crate) fn forget(&self, key: &ClaimKey) {
        self.lock().remove(key);
    }

    /// Returns the fingerprint of an event that was handled and that the store may not know as done.
    pub(crate) fn completed_fingerprint(&self, key: &ClaimKey) -> Option<Fingerprint> {
        self.lock().get(key).copied()
    }

    /// Returns a permit to retry a settlement in the background, or `None` when too many are retried.
    pub(crate) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Returns a permit to release a claim of unknown outcome, or `None` when too many are being released.
    ///
    /// The limit keeps an outage under load from causing a burst of releases.
    pub(crate) fn unconfirmed_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.unconfirmed_permits).try_acquire_owned().ok()
    }

    /// Waits for a permit to call the store once. The semaphore is never closed.
    pub(crate) async fn retry_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.retry_permits.acquire().await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClaimKey, Fingerprint>> {
        self.completed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
