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

    /// Waits until the next delivery is due. `None` when all are sent or the run was stopped.
    ///
    /// Returns the time from which its latency counts. When all connections were busy at the scheduled time,
    /// it is the scheduled time: otherwise a stalled receiver would delay the deliveries without appearing in
    /// their latencies (coordinated omission). When a connection waited for the scheduled time, it is the
    /// time of waking up, because the timer's delay is not the receiver's.
    pub(crate) async fn wait_for_turn(&self, stop: &CancellationToken) -> Option<Instant> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        if index >= self.total || stop.is_cancelled() {
            return None;
        }
        match self.rate {
            None => Some(Instant::now()),
            Some(rate) => {
                #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
                let seconds = index as f64 / rate;
                // At a very low rate, a year: a longer time could overflow.
                let due = self.started + Duration::from_secs_f64(seconds.min(31_536_000.0));
                if due <= Instant::now() {
                    return Some(due);
                }
                sleep_until(due, stop).await.then(Instant::now)
            }
        }
    }
}

/// Sleeps until the deadline. False when the run was stopped before.
pub(crate) async fn sleep_until(deadline: Instant, stop: &CancellationToken) -> bool {
    stop.run_until_cancelled(tokio::time::sleep_until(deadline)).await.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn late_delivery_counts_from_scheduled_time() {
        let (started, stop) = (Instant::now(), CancellationToken::new());
        let pace = Pace::new(started, Some(10.0), 4);
        assert_eq!(pace.wait_for_turn(&stop).await, Some(started));
        // The receiver stalls.
        tokio::time::advance(INTERVAL * 5 / 2).await;
        assert_eq!(pace.wait_for_turn(&stop).await, Some(started + INTERVAL));
        assert_eq!(pace.wait_for_turn(&stop).await, Some(started + INTERVAL * 2));
        let on_time = pace.wait_for_turn(&stop).await.unwrap();
        assert_eq!(on_time, Instant::now());
        assert!(on_time >= started + INTERVAL * 3);
        assert_eq!(pace.wait_for_turn(&stop).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn stopped_run_has_no_next_delivery() {
        let stop = CancellationToken::new();
        let pace = Pace::new(Instant::now(), Some(0.001), 3);
        assert!(pace.wait_for_turn(&stop).await.is_some());
        stop.cancel();
        assert_eq!(pace.wait_for_turn(&stop).await, None);
    }
}
