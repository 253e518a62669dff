use std::time::Duration;

use roomz_protocol::Timestamp;
use roomz_webhook::Clock;
use tokio::time::Instant;

/// A [`Clock`] that follows tokio's clock. In a paused runtime, leases and timeouts advance together.
#[derive(Debug)]
pub(crate) struct TokioClock {
    start: Instant,
    calendar: Timestamp,
}

impl TokioClock {
    /// Starts at the current calendar time.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), calendar: Timestamp::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.calendar + self.start.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
