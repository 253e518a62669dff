//! Parsers of option values. Each error says what to write instead.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::StatusCode;
use roomz_protocol::{EventId, Timestamp};

/// Parses a whole number from `MIN` to `MAX`.
pub(crate) fn parse_number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (MIN..=MAX).contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("use a whole number from {MIN} to {MAX}"))
}

pub(crate) fn parse_timestamp(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "use an RFC 3339 time, such as 2024-05-21T08:22:32Z")
}

/// Parses `3` or `3-5`.
pub(crate) fn parse_lines(text: &str) -> Result<RangeInclusive<usize>, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 1 <= first && first <= last => Ok(first..=last),
        _ => Err("use the number of a line, from 1, such as 3, or a range such as 3-5"),
    }
}

pub(crate) fn parse_fraction(text: &str) -> Result<f64, &'static str> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("use a number from 0 to 1, such as 0.2") }
}

pub(crate) fn parse_positive_number(text: &str) -> Result<f64, &'static str> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err("use a number above 0, such as 50") }
}

pub(crate) fn parse_seconds(text: &str) -> Result<Duration, &'static str> {
    let number = text.parse().unwrap_or(f64::NAN);
    // One year. `Instant` plus a much longer duration could overflow.
    let range = 0.0..=31_536_000.0;
    if range.contains(&number) {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err("use a number of seconds from 0 to 31536000, such as 2.5")
    }
}

pub(crate) fn parse_positive_seconds(text: &str) -> Result<Duration, &'static str> {
    parse_seconds(text).and_then(|duration| {
        if duration.is_zero() { Err("use a number of seconds above 0, such as 2.5") } else { Ok(duration) }
    })
}

pub(crate) fn parse_event_id(text: &str) -> Result<String, String> {
    text.parse::<EventId>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(crate) fn parse_path(text: &str) -> Result<String, &'static str> {
    let valid =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if valid {
        Ok(text.to_owned())
    } else {
        Err("use a path that begins with / and has no query, such as /webhooks/roomz")
    }
}

pub(crate) fn parse_status(text: &str) -> Result<StatusCode, &'static str> {
    let status = text.parse::<StatusCode>().ok();
    let final_status = status.filter(|status| (200..600).contains(&status.as_u16()));
    final_status.ok_or("use a status from 200 to 599, such as 503")
}
