use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A line that anybody can cause is logged at most this often.
const INTERVAL: Duration = Duration::from_secs(60);

/// Limits a log line to one per minute, and counts its causes.
#[derive(Debug, Default)]
pub(crate) struct LogInterval {
    /// The time of the last line in seconds, plus 1. 0 before the first line.
    last: AtomicU64,
    count: AtomicU64,
}

impl LogInterval {
    /// Counts a cause. If a line is due, returns the number of causes since the last line.
    pub(crate) fn count(&self, now: Duration) -> Option<u64> {
        self.count.fetch_add(1, Ordering::SeqCst);
        let (last, now) = (self.last.load(Ordering::SeqCst), now.as_secs() + 1);
        let is_due = last == 0 || now >= last.saturating_add(INTERVAL.as_secs());
        // Of several that find a line due, one logs it.
        let logs =
            is_due && self.last.compare_exchange(last, now, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        logs.then(|| self.count.swap(0, Ordering::SeqCst))
    }
}
