use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::ClaimKey;

/// How many duplicates of one event wait at once.
const MAX_WAITERS_PER_EVENT: usize = 100;
/// How many duplicates of all events wait at once. Each of them polls the store.
const MAX_WAITERS: usize = 1_000;

/// Duplicates that wait for a delivery that this process handles.
///
/// A duplicate of an event that another process handles is not notified; it polls the store.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The number of all waiters. While it is 0, nearly always, settling an event takes no lock.
    count: AtomicUsize,
    entries: Mutex<HashMap<ClaimKey, Entry>>,
}

/// The waiters for one event.
#[derive(Debug, Default)]
struct Entry {
    count: usize,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Registers a waiter for this event, or returns `None` when too many wait.
    ///
    /// A waiter that registers first and calls the store afterwards cannot miss the settlement.
    pub(crate) fn register<'a>(&'a self, key: &'a ClaimKey) -> Option<WaiterGuard<'a>> {
        let mut entries = self.lock();
        let waiting = entries.get(key).map_or(0, |entry| entry.count);
        if waiting >= MAX_WAITERS_PER_EVENT || self.count.load(Ordering::SeqCst) >= MAX_WAITERS {
            return None;
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        let entry = entries.entry(key.clone()).or_default();
        entry.count += 1;
        Some(WaiterGuard { waiters: self, key, notify: Arc::clone(&entry.notify) })
    }

    /// Wakes every waiter for this event, after it was settled.
    pub(crate) fn notify_all(&self, key: &ClaimKey) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(entry) = self.lock().get(key) {
            entry.notify.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClaimKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registered waiter. Dropping it unregisters it.
pub(crate) struct WaiterGuard<'a> {
    waiters: &'a Waiters,
    key: &'a ClaimKey,
    notify: Arc<Notify>,
}

impl WaiterGuard<'_> {
    /// Completes when `notify_all` is called after this call, even if the future was not polled yet.
    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        let mut entries = self.waiters.lock();
        if let hash_map::Entry::Occupied(mut entry) = entries.entry(self.key.clone()) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
    }
}
