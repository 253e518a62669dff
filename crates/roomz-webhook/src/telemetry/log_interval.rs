use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A line that anybody can cause is logged at most this often.
const INTERVAL: Duration = Duration::from_secs(60);

/// Limits a log line to one per minute, and counts its causes.
#[derive(Debug, Default)]
pub(crate) struct LogInterval {
    /// The time of the last line, and the number of causes since then.
    last: Mutex<(Option<Duration>, u64)>,
}

impl LogInterval {
    /// Counts a cause. If a line is due, returns the number of causes since the last line.
    pub(crate) fn count(&self, now: Duration) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.1 += 1;
        let is_due = last.0.is_none_or(|time| now.saturating_sub(time) >= INTERVAL);
        is_due.then(|| std::mem::replace(&mut *last, (Some(now), 0)).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_minute_has_the_count() {
        let interval = LogInterval::default();
        let counts = [7, 8, 66, 67, 68, 127].map(|second| interval.count(Duration::from_secs(second)));
        assert_eq!(counts, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
