use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, header};
use roomz_webhook::Skipped;
use serde_json::Value;

use super::PROXY_ADVICE;
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
    /// The member `reason` of a JSON body, or the header `grpc-status`, escaped.
    pub(crate) reason: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    /// A gRPC server answered, such as tonic, which answers unknown paths with 200. The webhook received
    /// nothing.
    pub(crate) is_grpc: bool,
}

impl ReceiverResponse {
    pub(super) fn new(response: Response<Bytes>) -> Self {
        let (status, headers) = (response.status(), response.headers());
        let text = |name: HeaderName| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()));
        let escaped = |name| text(name).map(|text| escape_truncated(&text, MAX_REASON_CHARS));
        let grpc_status = escaped(GRPC_STATUS).map(|status| format!("{GRPC_STATUS} {status}"));
        Self {
            status,
            skipped: escaped(Skipped::HEADER),
            is_grpc: grpc_status.is_some(),
            reason: grpc_status.or_else(|| problem_reason(&response).filter(|_| !status.is_success())),
            retry_after: text(header::RETRY_AFTER)
                .and_then(|value| value.trim().parse().ok())
                .map(Duration::from_secs),
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

    /// Whether something else than the webhook answered.
    pub(crate) fn is_not_webhook(&self) -> bool {
        self.is_grpc || matches!(self.status.as_u16(), 300..=399 | 404 | 405)
    }

    /// What to do about a correctly signed delivery that was not accepted.
    pub(crate) fn advice(&self) -> &'static str {
        match (self.status.as_u16(), self.reason.as_deref()) {
            _ if self.is_grpc => {
                "a gRPC server answered, not the webhook: check the path of the URL, and let the server answer unknown paths \
                 with 404"
            }
            (300..=399, _) => "use the final URL: a redirect can turn a POST into a GET",
            (401, Some("signature-missing" | "signature-repeated" | "signature-malformed")) => {
                "a proxy removes, repeats or changes Roomz-Signature: let it pass once, as it is"
            }
            (401, _) => {
                "compare the secret with the receiver's; if it is the same, a proxy rewrites the body"
            }
            (404 | 405, _) => "check the path of the URL, and that it takes POST",
            (407, _) => PROXY_ADVICE,
            (413, _) => "raise the limit of the receiver (`with_body_limit`) or of the proxy in front of it",
            (503, _) => "check the receiver's log, and try again, such as with `roomz send --retry`",
            (500.., _) => "check the receiver's log",
            _ => "look up the reason in the receiver's documentation",
        }
    }

    /// Whether the receiver answered that it had handled the event before.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.is_accepted() && self.skipped.as_deref() == Some(Skipped::Duplicate.as_str())
    }
}

fn problem_reason(response: &Response<Bytes>) -> Option<String> {
    let problem: Value = serde_json::from_slice(response.body()).ok()?;
    Some(escape_truncated(problem.get("reason")?.as_str()?, MAX_REASON_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_read_from_problem_and_escaped() {
        let reason = |body: &'static str| problem_reason(&Response::new(body.into()));
        assert_eq!(reason(r#"{"reason":"in-flight\u001b[2J"}"#).unwrap(), r"in-flight\u{1b}[2J");
        assert_eq!(reason("{"), None);
    }
}
