use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use roomz_protocol::Timestamp;

use crate::clock::Clock;

/// A clock that advances only when a test advances it. Clones share the time.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::testing::ManualClock;
/// use roomz_webhook::Clock;
/// use roomz_webhook::store::MokaStore;
///
/// let clock = ManualClock::new();
/// let store = MokaStore::builder().with_clock(clock.clone()).build();
/// let before = clock.monotonic();
/// clock.advance(Duration::from_secs(60)); // every lease has ended
/// assert_eq!(clock.monotonic() - before, Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Timestamp,
    elapsed_nanos: Arc<AtomicU64>,
}

impl ManualClock {
    /// Creates a clock that starts at the current time.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Timestamp::now(), elapsed_nanos: Arc::default() }
    }

    /// Advances the clock, by at most 584 years in total.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.elapsed_nanos.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start.checked_add(self.monotonic()).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.elapsed_nanos.load(Ordering::SeqCst))
    }
}
