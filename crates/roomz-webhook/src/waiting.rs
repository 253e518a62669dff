use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::ClaimKey;

/// Where duplicates wait for the delivery that is being handled in this process. Those that are handled in another
/// process are found by asking the store again.
#[derive(Debug, Default)]
pub(crate) struct WaitingRoom {
    /// Spares the lock to those who settle while nobody waits, which is nearly always.
    guests: AtomicUsize,
    tables: Mutex<HashMap<ClaimKey, Table>>,
}

#[derive(Debug)]
struct Table {
    guests: usize,
    bell: Arc<Notify>,
}

impl WaitingRoom {
    /// Takes a seat. Whoever then asks the store and is told to wait cannot miss the bell.
    pub(crate) fn enter<'a>(&'a self, key: &'a ClaimKey) -> Seat<'a> {
        self.guests.fetch_add(1, Ordering::SeqCst);
        let mut tables = self.tables();
        let table =
            tables.entry(key.clone()).or_insert_with(|| Table { guests: 0, bell: Arc::new(Notify::new()) });
        table.guests += 1;
        Seat { room: self, key, bell: Arc::clone(&table.bell) }
    }

    /// Tells those who wait for this event that it has been settled.
    pub(crate) fn ring(&self, key: &ClaimKey) {
        if self.guests.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(table) = self.tables().get(key) {
            table.bell.notify_waiters();
        }
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<ClaimKey, Table>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the waiting room, given up when dropped.
pub(crate) struct Seat<'a> {
    room: &'a WaitingRoom,
    key: &'a ClaimKey,
    bell: Arc<Notify>,
}

impl Seat<'_> {
    /// Resolves when the bell rings after this call, whether it is polled before or not.
    pub(crate) fn bell(&self) -> tokio::sync::futures::Notified<'_> {
        self.bell.notified()
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut tables = self.room.tables();
        if let Entry::Occupied(mut table) = tables.entry(self.key.clone()) {
            table.get_mut().guests -= 1;
            if table.get().guests == 0 {
                table.remove();
            }
        }
        self.room.guests.fetch_sub(1, Ordering::SeqCst);
    }
}
