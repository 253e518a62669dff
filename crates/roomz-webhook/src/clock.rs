use std::fmt;
use std::time::{Duration, Instant};

use roomz_protocol::Timestamp;

/// A source of time, so that tests can control it.
///
/// It is used for comparisons: an event's age, a claim's lease, an id's retention. Waiting (the body's
/// deadline, the store timeout, the duplicate wait) uses tokio's timers, which `tokio::time::pause` controls.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// assert!(clock.monotonic() < Duration::from_secs(1));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a clock",
    label = "expected `SystemClock`, or a type that implements `roomz_webhook::Clock`",
    note = "in tests, use `roomz_webhook::testing::ManualClock` (feature `testing`)"
)]
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the calendar time. It may jump. Only an event's age is measured with it.
    fn now(&self) -> Timestamp;

    /// Returns the time since a fixed moment in the past. It must never decrease.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks. The default.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Creates a clock whose monotonic time starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
