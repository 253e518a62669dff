use std::time::Duration;

/// No wait is longer, whatever a receiver asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// How often and after which time a delivery is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    /// How many times after the first.
    pub(crate) times: u32,
    pub(crate) back_off: Duration,
}

impl Retry {
    /// The wait before the retry of this number (from 1), or nothing when it is given up.
    pub(crate) fn wait(self, number: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if number > self.times {
            return None;
        }
        let doubled = self.back_off.saturating_mul(2_u32.saturating_pow(number - 1));
        Some(retry_after.unwrap_or(doubled).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { times: 9, back_off: Duration::from_millis(500) };

    #[test]
    fn the_wait_doubles_up_to_a_minute_and_ends() {
        let waits: Vec<_> =
            (1..=10).map(|number| RETRY.wait(number, None).map(|wait| wait.as_secs_f64())).collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];
        assert_eq!(waits, seconds.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn the_receiver_may_ask_for_less_or_more_but_not_for_an_hour() {
        for (asked, waited) in [(0, 0), (7, 7), (3_600, 60)] {
            let wait = RETRY.wait(3, Some(Duration::from_secs(asked)));
            assert_eq!(wait, Some(Duration::from_secs(waited)));
        }
        assert_eq!(RETRY.wait(10, Some(Duration::ZERO)), None);
    }

    #[test]
    fn many_retries_do_not_overflow() {
        let retry = Retry { times: u32::MAX, back_off: Duration::from_secs(31_536_000) };
        assert_eq!(retry.wait(u32::MAX, None), Some(LONGEST));
    }
}
