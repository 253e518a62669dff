use std::time::Duration;

/// The longest delay, even when a receiver asks for more with `Retry-After`.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// How often and after which delay a delivery is retried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// Retries after the first attempt.
    pub(crate) max_retries: u32,
    /// The delay before the first retry; it doubles for each further retry.
    pub(crate) backoff: Duration,
}

impl RetryPolicy {
    /// Returns the delay after a failed attempt, counted from 1. `None` when no retry is left.
    pub(crate) fn delay_after(self, attempt: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if attempt > self.max_retries {
            return None;
        }
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(attempt - 1));
        Some(retry_after.unwrap_or(doubled).min(MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_retries: 9, backoff: Duration::from_millis(500) };

    #[test]
    fn delay_doubles_up_to_maximum() {
        let delays: Vec<_> = (1..=10)
            .map(|attempt| POLICY.delay_after(attempt, None).map(|delay| delay.as_secs_f64()))
            .collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
        assert_eq!(delays, seconds.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn retry_after_replaces_backoff_up_to_maximum() {
        for (retry_after, expected) in [(0, 0), (7, 7), (3_600, 60)] {
            let delay = POLICY.delay_after(3, Some(Duration::from_secs(retry_after)));
            assert_eq!(delay, Some(Duration::from_secs(expected)));
        }
        assert_eq!(POLICY.delay_after(10, Some(Duration::ZERO)), None);
    }

    #[test]
    fn delay_does_not_overflow() {
        let policy = RetryPolicy { max_retries: u32::MAX, backoff: Duration::from_secs(31_536_000) };
        assert_eq!(policy.delay_after(u32::MAX, None), Some(MAX_DELAY));
    }
}
