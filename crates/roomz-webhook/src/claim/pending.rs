use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// The number of entries in `completed`. While it is 0, nearly always, a claim takes no lock.
    completed_count: AtomicUsize,
    /// The fingerprint of each handled event, and how many settlements of it are pending.
    completed: Mutex<HashMap<ClaimKey, (Fingerprint, usize)>>,
    permits: Arc<Semaphore>,
    unconfirmed_permits: Arc<Semaphore>,
    retry_permits: Semaphore,
}

impl Default for PendingSettlements {
    fn default() -> Self {
        Self {
            completed_count: AtomicUsize::new(0),
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
        let mut completed = self.lock();
        completed.entry(key.clone()).or_insert((fingerprint, 0)).1 += 1;
        self.completed_count.store(completed.len(), Ordering::SeqCst);
    }

    /// Forgets the event if no other settlement of it is pending: the store recorded it, or the settlement was abandoned.
    pub(crate) fn forget(&self, key: &ClaimKey) {
        let mut completed = self.lock();
        if let hash_map::Entry::Occupied(mut entry) = completed.entry(key.clone()) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        self.completed_count.store(completed.len(), Ordering::SeqCst);
    }

    /// Returns the fingerprint of an event that was handled and that the store may not know as done.
    pub(crate) fn completed_fingerprint(&self, key: &ClaimKey) -> Option<Fingerprint> {
        if self.completed_count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.lock().get(key).map(|(fingerprint, _)| *fingerprint)
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

    fn lock(&self) -> MutexGuard<'_, HashMap<ClaimKey, (Fingerprint, usize)>> {
        self.completed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two deliveries of one event can be handled, for example after failing open.
    #[test]
    fn remembers_event_until_last_settlement_ends() {
        let pending = PendingSettlements::default();
        let key = ClaimKey::new("roomz".into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap());
        let fingerprint = Fingerprint::of(b"{}");
        pending.insert_completed(&key, fingerprint);
        pending.insert_completed(&key, fingerprint);
        pending.forget(&key);
        assert_eq!(pending.completed_fingerprint(&key), Some(fingerprint));
        pending.forget(&key);
        assert_eq!(pending.completed_fingerprint(&key), None);
    }
}
