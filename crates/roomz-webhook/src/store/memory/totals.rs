use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::telemetry;

/// The limits of a store, and what its shards count together.
///
/// The counters protect no other memory, so their operations are relaxed.
#[derive(Debug)]
pub(super) struct Totals {
    capacity: u64,
    pub(super) max_in_flight: usize,
    pub(super) in_flight: AtomicUsize,
    pub(super) evicted_early: AtomicU64,
}

impl Totals {
    pub(super) fn new(capacity: u64, max_in_flight: usize) -> Self {
        Self { capacity, max_in_flight, in_flight: AtomicUsize::new(0), evicted_early: AtomicU64::new(0) }
    }

    pub(super) fn count_early_eviction(&self, evicted_early: bool) {
        if evicted_early {
            let is_first = self.evicted_early.fetch_add(1, Ordering::Relaxed) == 0;
            telemetry::evicted_early(is_first, self.capacity);
        }
    }
}
