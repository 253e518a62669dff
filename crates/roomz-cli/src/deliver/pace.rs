//! When deliveries and retries are sent.

use std::time::Duration;

use tokio::time::{Instant, Interval, interval};

/// The longest delay, even when a receiver asks for more with `Retry-After`.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The delay before the first retry. It doubles for each further retry.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Limits the rate of all workers together.
pub(super) struct Pace(Option<Interval>);

impl Pace {
    /// `rate` is in deliveries per second; `None` is unlimited.
    pub(super) fn new(rate: Option<f64>) -> Self {
        // At most a year, because a longer time could overflow.
        let period = |rate: f64| Duration::from_secs_f64((1.0 / rate).clamp(1e-9, 31_536_000.0));
        Self(rate.map(|rate| interval(period(rate))))
    }

    /// Waits until the next delivery is due.
    ///
    /// Returns the time from which its latency counts. When all connections were busy at the scheduled time,
    /// it is the scheduled time: otherwise a stalled receiver would delay the deliveries without appearing in
    /// their latencies (coordinated omission). When a connection waited for the scheduled time, it is the
    /// time of waking up, because the timer's delay is not the receiver's.
    pub(super) async fn wait_for_turn(&mut self) -> Instant {
        let Some(interval) = &mut self.0 else { return Instant::now() };
        let free = Instant::now();
        let due = interval.tick().await;
        if due <= free { due } else { Instant::now() }
    }
}

/// Returns the delay after a failed attempt, counted from 1. `None` when no retry is left.
///
/// `random` is from 0 to 1 and leaves out up to half of the delay: it spreads the retries of deliveries that
/// failed together. The receiver's own delay is not shortened.
pub(super) fn delay_after(
    attempt: u32,
    max_retries: u32,
    retry_after: Option<Duration>,
    random: f64,
) -> Option<Duration> {
    if attempt > max_retries {
        return None;
    }
    // Rate limiters that cut the rest to whole seconds send 0 until it ends.
    let retry_after = retry_after.filter(|delay| !delay.is_zero());
    let doubled = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(MAX_DELAY);
    Some(retry_after.unwrap_or(doubled.mul_f64(1.0 - random / 2.0)).min(MAX_DELAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn late_delivery_counts_from_scheduled_time() {
        let (started, mut pace) = (Instant::now(), Pace::new(Some(10.0)));
        assert_eq!(pace.wait_for_turn().await, started);
        // The receiver stalls.
        tokio::time::advance(INTERVAL * 5 / 2).await;
        assert_eq!(pace.wait_for_turn().await, started + INTERVAL);
        assert_eq!(pace.wait_for_turn().await, started + INTERVAL * 2);
        let on_time = pace.wait_for_turn().await;
        assert_eq!(on_time, Instant::now());
        assert!(on_time >= started + INTERVAL * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn any_rate_is_a_period() {
        for rate in [f64::MIN_POSITIVE, 0.001, 1e9, f64::MAX] {
            Pace::new(Some(rate)).wait_for_turn().await;
        }
    }

    #[test]
    fn delay_doubles_up_to_maximum() {
        let delays: Vec<_> = (1..=10)
            .map(|attempt| delay_after(attempt, 9, None, 0.0).map(|delay| delay.as_secs_f64()))
            .collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
        assert_eq!(delays, seconds.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn retry_after_replaces_backoff_up_to_maximum() {
        for (retry_after, expected) in [(1, 1), (7, 7), (3_600, 60)] {
            let delay = delay_after(3, 9, Some(Duration::from_secs(retry_after)), 0.7);
            assert_eq!(delay, Some(Duration::from_secs(expected)));
        }
        assert_eq!(delay_after(10, 9, Some(Duration::from_secs(1)), 0.0), None);
        assert_eq!(delay_after(3, 9, Some(Duration::ZERO), 0.0), delay_after(3, 9, None, 0.0));
    }

    #[test]
    fn random_part_shortens_backoff_by_half() {
        for (random, milliseconds) in [(0.0, 1_000), (0.5, 750), (1.0, 500)] {
            let delay = delay_after(2, 9, None, random);
            assert_eq!(delay, Some(Duration::from_millis(milliseconds)), "{random}");
        }
    }

    #[test]
    fn delay_does_not_overflow() {
        assert_eq!(delay_after(u32::MAX, u32::MAX, None, 0.0), Some(MAX_DELAY));
    }
}
