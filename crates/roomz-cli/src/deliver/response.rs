use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, header};
use roomz_webhook::Skipped;
use serde_json::Value;

use crate::client::{PROXY_ADVICE, TransportError};
use crate::escape::escape_truncated;

/// A longer reason is cut, because it becomes a row of the table.
const MAX_REASON_CHARS: usize = 64;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A receiver's response, and what is reported of it.
#[derive(Debug)]
pub(crate) struct ReceiverResponse {
    pub(crate) response: Response<Bytes>,
    pub(crate) status: StatusCode,
    /// The header `roomz-webhook-skipped`, escaped: why the handler did not run.
    pub(crate) skipped: Option<String>,
    /// The member `reason` of a problem+json body, or the header `grpc-status`, escaped.
    pub(crate) reason: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// A gRPC server answered, such as tonic, which answers unknown paths with 200. The webhook received
    /// nothing.
    pub(crate) is_grpc: bool,
}

impl ReceiverResponse {
    pub(crate) fn new(response: Response<Bytes>, now: SystemTime) -> Self {
        let (status, headers) = (response.status(), response.headers());
        let text = |name: HeaderName| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()));
        let escaped = |name| text(name).map(|text| escape_truncated(&text, MAX_REASON_CHARS));
        let grpc_status = escaped(GRPC_STATUS).map(|status| format!("{GRPC_STATUS} {status}"));
        Self {
            status,
            skipped: escaped(Skipped::HEADER),
            is_grpc: grpc_status.is_some(),
            reason: grpc_status.or_else(|| problem_reason(&response).filter(|_| !status.is_success())),
            retry_after: text(header::RETRY_AFTER).and_then(|value| parse_retry_after(&value, now)),
            response,
        }
    }

    /// The status and the reason, such as `401 signature-mismatch` or `200 (duplicate)`.
    pub(crate) fn label(&self) -> String {
        let skipped = self.skipped.as_ref().map(|skipped| format!("({skipped})"));
        let parts = [Some(self.status.as_str().to_owned()), self.reason.clone(), skipped];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Whether the webhook accepted the delivery.
    pub(crate) fn is_accepted(&self) -> bool {
        self.status.is_success() && !self.is_grpc
    }

    /// Whether the receiver answered that it had handled the event before.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.is_accepted() && self.skipped.as_deref() == Some(Skipped::Duplicate.as_str())
    }
}

/// Tells the user what to do about the result of a failed delivery.
pub(super) fn advice(result: &Result<ReceiverResponse, TransportError>, forged: bool) -> &'static str {
    let response = match result {
        Err(error) => return error.advice,
        Ok(response) => response,
    };
    match response.status.as_u16() {
        _ if forged => "the receiver must answer 401 to a wrong signature",
        _ if response.is_grpc => {
            "a gRPC server answered, not the webhook: check the path of the URL, and let the server answer unknown paths \
             with 404"
        }
        401 => "compare the secret with the receiver's",
        404 | 405 => "check the path of the URL",
        407 => PROXY_ADVICE,
        503 => "check the receiver's log, and try --retry",
        500.. => "check the receiver's log",
        _ => "look up the reason in the receiver's documentation",
    }
}

fn problem_reason(response: &Response<Bytes>) -> Option<String> {
    let content_type = response.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let is_problem = content_type.trim_start().to_ascii_lowercase().starts_with("application/problem+json");
    let problem: Value = serde_json::from_slice(response.body()).ok().filter(|_| is_problem)?;
    Some(escape_truncated(problem.get("reason")?.as_str()?, MAX_REASON_CHARS))
}

/// Parses a number of seconds or an HTTP date (RFC 9110, section 10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
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
    fn parses_retry_after_seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(parse_retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:17 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
    }

    #[test]
    fn reason_is_read_from_problem_and_escaped() {
        let reason = |content_type: &str, body: &'static str| {
            let response = Response::builder().header("content-type", content_type);
            problem_reason(&response.body(body.into()).unwrap())
        };
        let body = r#"{"reason":"in-flight\u001b[2J"}"#;
        assert_eq!(reason("application/problem+json", body).unwrap(), r"in-flight\u{1b}[2J");
        assert_eq!(reason("application/json", body), None);
        assert_eq!(reason("application/problem+json", "{"), None);
    }
}
