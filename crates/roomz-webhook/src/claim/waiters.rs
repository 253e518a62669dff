use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::ClaimKey;

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
#[derive(Debug)]
struct Entry {
    count: usize,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Registers a waiter for this event.
    ///
    /// A waiter that registers first and calls the store afterwards cannot miss the settlement.
    pub(crate) fn register<'a>(&'a self, key: &'a ClaimKey) -> WaiterGuard<'a> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let mut entries = self.lock();
        let entry =
            entries.entry(key.clone()).or_insert_with(|| Entry { count: 0, notify: Arc::new(Notify::new()) });
        entry.count += 1;
        WaiterGuard { waiters: self, key, notify: Arc::clone(&entry.notify) }
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
