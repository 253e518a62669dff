use std::time::{Duration, SystemTime};

use http::response::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::text::safe_start;

/// The header by which a receiver says that its handler did not run; see `Skipped` of `roomz-webhook`.
const SKIPPED: &str = "roomz-webhook-skipped";
/// Reasons longer than this are none.
const SHOWN: usize = 64;

/// What a receiver answered, as far as it is counted.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The value of `roomz-webhook-skipped`, fit for a terminal.
    pub(crate) skipped: Option<String>,
    /// The member `reason` of a problem, fit for a terminal.
    pub(crate) reason: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Answer {
    pub(crate) fn read(head: &Parts, body: &[u8], now: SystemTime) -> Self {
        let text =
            |name| Some(safe_start(&String::from_utf8_lossy(head.headers.get(name)?.as_bytes()), SHOWN));
        Self {
            status: head.status,
            skipped: text(SKIPPED),
            reason: if head.status.is_success() { None } else { reason(&head.headers, body) },
            retry_after: head
                .headers
                .get(header::RETRY_AFTER)
                .and_then(|value| retry_after(value.to_str().ok()?, now)),
        }
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        self.status.is_success() && self.skipped.as_deref() == Some("duplicate")
    }
}

fn reason(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/problem+json") {
        return None;
    }
    let problem: Value = serde_json::from_slice(body).ok()?;
    Some(safe_start(problem.get("reason")?.as_str()?, SHOWN))
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:17 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_reason_is_that_of_a_problem_and_safe_to_show() {
        let headers =
            |kind: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        let body = r#"{"reason":"in-flight\u001b[2J"}"#.as_bytes();
        assert_eq!(reason(&headers("application/problem+json"), body).unwrap(), r"in-flight\u{1b}[2J");
        assert_eq!(reason(&headers("application/json"), body), None);
        assert_eq!(reason(&headers("application/problem+json"), b"{"), None);
    }
}
