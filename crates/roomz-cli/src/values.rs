//! Parsers of option values. Each error says what to write instead.

use std::time::Duration;

use http::StatusCode;
use roomz_protocol::Timestamp;

/// Parses a whole number from `MIN` to `MAX`.
pub(crate) fn parse_number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("use a whole number from {MIN} to {MAX}"))
}

pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "use an RFC 3339 time, such as 2024-05-21T08:22:32Z")
}

pub(crate) fn parse_fraction(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or("use a number from 0 to 1, such as 0.2")
}

pub(crate) fn parse_rate(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or("use a number above 0, such as 50")
}

pub(crate) fn parse_timeout(text: &str) -> Result<Duration, &'static str> {
    // One year. `Instant` plus a much longer duration could overflow.
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 31_536_000.0);
    let timeout = seconds.map(Duration::from_secs_f64).filter(|timeout| !timeout.is_zero());
    timeout.ok_or("use a number of seconds above 0, such as 2.5")
}

pub(crate) fn parse_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse::<StatusCode>().ok().filter(|status| (200..600).contains(&status.as_u16()));
    status.ok_or("use a status from 200 to 599, such as 503")
}
