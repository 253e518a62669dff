use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_protocol::Timestamp;

/// Where the time comes from, so that tests can move it.
///
/// This is for what is compared with the time: an event's age, a claim's lease, an id's retention. What *waits* (the
/// body's deadline, the store's time-out, a duplicate's patience) uses tokio's timers, which `tokio::time::pause`
/// stops.
///
/// ```
/// use std::time::Duration;
/// use roomz_webhook::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// assert!(clock.monotonic() < Duration::from_secs(1));
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The calendar's time. It may jump; only an event's age is measured with it.
    fn now(&self) -> Timestamp;

    /// The time since some moment in the past. It must never go back.
    fn monotonic(&self) -> Duration;
}

/// A shared clock is a clock.
impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        T::now(self)
    }

    fn monotonic(&self) -> Duration {
        T::monotonic(self)
    }
}

/// The operating system's clocks: the default.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The operating system's clocks.
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
