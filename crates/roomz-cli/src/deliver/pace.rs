use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Limits the rate of all workers together.
pub(crate) struct Pace {
    started: Instant,
    /// Deliveries per second; `None` is unlimited.
    rate: Option<f64>,
    total: u64,
    next: AtomicU64,
}

impl Pace {
    pub(crate) fn new(started: Instant, rate: Option<f64>, total: u64) -> Self {
        Self { started, rate, total, next: AtomicU64::new(0) }
    }

    /// Waits until the next delivery is due. False when all are sent or the run was stopped.
    pub(crate) async fn wait_for_turn(&self, stop: &CancellationToken) -> bool {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.total || stop.is_cancelled() {
            return false;
        }
        match self.rate {
            None => true,
            Some(rate) => {
                #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
                let seconds = index as f64 / rate;
                // A very low rate overflows `Duration` or `Instant`: wait for a year instead.
                let delay = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                let one_year = || self.started + Duration::from_secs(31_536_000);
                sleep_until(self.started.checked_add(delay).unwrap_or_else(one_year), stop).await
            }
        }
    }
}

/// Sleeps until the deadline. False when the run was stopped before.
pub(crate) async fn sleep_until(deadline: Instant, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep_until(deadline)).await.is_some()
}
