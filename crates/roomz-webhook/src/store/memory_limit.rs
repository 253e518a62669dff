use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the claims in flight in all shards of a memory store.
#[derive(Debug)]
pub(super) struct InFlightLimit {
    max: usize,
    count: AtomicUsize,
}

impl InFlightLimit {
    pub(super) const fn new(max: usize) -> Self {
        Self { max, count: AtomicUsize::new(0) }
    }

    /// Counts a new claim, unless the limit is reached.
    ///
    /// The counter protects no other memory, so its operations are relaxed.
    pub(super) fn acquire(&self) -> bool {
        if self.count.fetch_add(1, Ordering::Relaxed) < self.max {
            return true;
        }
        self.release();
        false
    }

    /// Counts a claim whose lease had ended and whose owner renewed it. It is not refused, so it may exceed the limit.
    pub(super) fn exceed(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn release(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
