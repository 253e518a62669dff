use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

/// Events that a worker takes ahead wait about this long for a handler.
const WAIT: Duration = Duration::from_millis(20);
/// The most events that a worker takes ahead. If its process dies, they wait until their lease ends.
const MAX_AHEAD: usize = 256;

/// The events that a worker has taken, and how long its handlers take.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The events that were taken and are not recorded yet.
    in_hand: AtomicUsize,
    /// How long a handler takes: at once longer after a slow one, and slowly shorter. 0: none has ended.
    handler_nanos: AtomicU64,
    /// Set by each take.
    pub(crate) may_take_ahead: AtomicBool,
    /// Fewer events are in hand.
    changed: Notify,
}

impl Load {
    /// Waits until events can be taken, and returns how many.
    pub(crate) async fn limit(&self, concurrency: usize) -> usize {
        loop {
            let changed = self.changed.notified();
            let ahead = self.ahead(concurrency);
            let limit = (concurrency + ahead).saturating_sub(self.in_hand.load(Ordering::Relaxed));
            // One take for many events.
            if limit > ahead / 2 {
                return limit;
            }
            changed.await;
        }
    }

    /// An event waited too long for a handler: none is taken ahead until handlers end sooner.
    pub(crate) fn handlers_are_slow(&self, concurrency: usize) {
        let slow = (WAIT * u32::try_from(concurrency).unwrap_or(u32::MAX)).as_nanos() + 1;
        self.handler_nanos.fetch_max(u64::try_from(slow).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many events to take ahead of those that run: as many as handlers start soon.
    fn ahead(&self, concurrency: usize) -> usize {
        if !self.may_take_ahead.load(Ordering::Relaxed) {
            return 0;
        }
        let handler = u128::from(self.handler_nanos.load(Ordering::Relaxed));
        let ahead = (WAIT.as_nanos() * concurrency as u128).checked_div(handler).unwrap_or(0);
        usize::try_from(ahead).map_or(MAX_AHEAD, |ahead| ahead.min(MAX_AHEAD))
    }
}

/// An event that was taken, until its outcome is recorded.
#[derive(Debug)]
pub(crate) struct InHand {
    load: Arc<Load>,
    pub(crate) since: Instant,
}

impl InHand {
    pub(crate) fn new(load: &Arc<Load>) -> Self {
        load.in_hand.fetch_add(1, Ordering::Relaxed);
        Self { load: Arc::clone(load), since: Instant::now() }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.load.in_hand.fetch_sub(1, Ordering::Relaxed);
        self.load.changed.notify_one();
    }
}

/// A running handler, until it has ended.
#[derive(Debug)]
pub(crate) struct Slot {
    load: Arc<Load>,
    start: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    pub(crate) fn new(permit: OwnedSemaphorePermit, load: &Arc<Load>) -> Self {
        Self { load: Arc::clone(load), start: Instant::now(), _permit: permit }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (last, before) =
            (self.start.elapsed().as_nanos(), self.load.handler_nanos.load(Ordering::Relaxed));
        let last = u64::try_from(last).unwrap_or(u64::MAX).max(1);
        self.load.handler_nanos.store(last.max(before - before / 8), Ordering::Relaxed);
    }
}
