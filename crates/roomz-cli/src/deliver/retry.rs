use std::time::Duration;

/// The longest delay, even when a receiver asks for more with `Retry-After`.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// How often and after which delay a delivery is retried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// Retries after the first attempt.
    pub(crate) max_retries: u32,
    /// The delay before the first retry; it doubles for each further retry, and up to half of it is left out.
    pub(crate) backoff: Duration,
}

impl RetryPolicy {
    /// Returns the delay after a failed attempt, counted from 1. `None` when no retry is left.
    ///
    /// `random` is from 0 to 1. It spreads the retries of deliveries that failed together. The receiver's own delay is
    /// not shortened.
    pub(crate) fn delay_after(
        self,
        attempt: u32,
        retry_after: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        if attempt > self.max_retries {
            return None;
        }
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(attempt - 1));
        let backoff = doubled.min(MAX_DELAY).mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0);
        Some(retry_after.unwrap_or(backoff).min(MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_retries: 9, backoff: Duration::from_millis(500) };

    #[test]
    fn delay_doubles_up_to_maximum() {
        let delays: Vec<_> = (1..=10)
            .map(|attempt| POLICY.delay_after(attempt, None, 0.0).map(|delay| delay.as_secs_f64()))
            .collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
        assert_eq!(delays, seconds.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn retry_after_replaces_backoff_up_to_maximum() {
        for (retry_after, expected) in [(0, 0), (7, 7), (3_600, 60)] {
            let delay = POLICY.delay_after(3, Some(Duration::from_secs(retry_after)), 0.7);
            assert_eq!(delay, Some(Duration::from_secs(expected)));
        }
        assert_eq!(POLICY.delay_after(10, Some(Duration::ZERO), 0.0), None);
    }

    #[test]
    fn random_part_shortens_backoff_by_half() {
        for (random, milliseconds) in [(0.0, 1_000), (0.5, 750), (1.0, 500), (7.0, 500)] {
            let delay = POLICY.delay_after(2, None, random);
            assert_eq!(delay, Some(Duration::from_millis(milliseconds)), "{random}");
        }
    }

    #[test]
    fn delay_does_not_overflow() {
        let policy = RetryPolicy { max_retries: u32::MAX, backoff: Duration::from_secs(31_536_000) };
        assert_eq!(policy.delay_after(u32::MAX, None, 0.0), Some(MAX_DELAY));
    }
}
