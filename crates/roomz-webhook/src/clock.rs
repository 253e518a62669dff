use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use roomz_protocol::Timestamp;

/// A source of time, so that tests can control it.
///
/// It is used for comparisons: an event's age, a claim's lease, an id's retention. Waiting (the body's
/// deadline, the store timeout, the duplicate wait) uses tokio's timers, which `tokio::time::pause` controls.
///
/// ```
/// use roomz_webhook::{Clock, SystemClock};
///
/// let first = SystemClock.monotonic();
/// assert!(SystemClock.monotonic() >= first);
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
#[allow(clippy::exhaustive_structs, reason = "there is one clock of the system, and it has no settings")]
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

/// When the monotonic time of this process was first read.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }
}
