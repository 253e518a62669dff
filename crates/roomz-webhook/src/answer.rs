use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use crate::refusal::{Rejection, RejectionKind};
use crate::response::ResponseBody;

/// Why a delivery was answered 200 although its handler did not run.
///
/// It is in the extensions of the response, and its name in the response's header `roomz-webhook-skipped` and in
/// its JSON body, so that a person with a terminal sees it too.
///
/// ```
/// use roomz_webhook::Skipped;
///
/// let response = Skipped::Ignored.into_response::<bytes::Bytes>();
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.headers()["roomz-webhook-skipped"], "ignored");
/// assert_eq!(response.extensions().get(), Some(&Skipped::Ignored));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Skipped {
    /// The event has been handled before.
    Duplicate,
    /// The event is too old or too new, and the policy is to acknowledge such.
    Stale,
    /// The handler takes another type of event.
    Ignored,
}

impl Skipped {
    /// The header that names it: `roomz-webhook-skipped`.
    pub const HEADER: HeaderName = HeaderName::from_static("roomz-webhook-skipped");

    /// The stable name: `duplicate`, `stale`, `ignored`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Ignored => "ignored",
        }
    }

    /// The response: 200 with a short JSON body, the header, and this value in its extensions.
    ///
    /// An extractor that finds an event not meant for its handler answers with this.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        self.response().map(B::from)
    }

    pub(crate) fn response(self) -> Response<Bytes> {
        let (name, text) = match self {
            Self::Duplicate => ("duplicate", r#"{"skipped":"duplicate"}"#),
            Self::Stale => ("stale", r#"{"skipped":"stale"}"#),
            Self::Ignored => ("ignored", r#"{"skipped":"ignored"}"#),
        };
        let mut response = Response::new(Bytes::from_static(text.as_bytes()));
        response.headers_mut().insert(Self::HEADER, HeaderValue::from_static(name));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the layer says itself, instead of the service.
#[derive(Debug)]
pub(crate) enum Answer {
    Refused { refusal: Rejection, retry_after: Option<HeaderValue> },
    Skipped(Skipped),
}

impl From<Rejection> for Answer {
    fn from(refusal: Rejection) -> Self {
        Self::Refused { refusal, retry_after: None }
    }
}

impl From<Skipped> for Answer {
    fn from(skipped: Skipped) -> Self {
        Self::Skipped(skipped)
    }
}

impl Answer {
    pub(crate) fn into_response<B>(self) -> Response<ResponseBody<B>> {
        match self {
            Self::Skipped(skipped) => skipped.response(),
            Self::Refused { refusal, retry_after } => problem(refusal, retry_after),
        }
        .map(ResponseBody::of_layer)
    }
}

/// RFC 9457. `about:blank` says that the problem is what the status says; `reason` is the finer name.
pub(crate) fn problem(refusal: Rejection, retry_after: Option<HeaderValue>) -> Response<Bytes> {
    let status = refusal.status();
    let text = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": refusal.to_string(),
        "reason": refusal.reason(),
    })
    .to_string();
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    status_headers(headers, refusal.kind(), status);
    if let Some(retry_after) = retry_after {
        headers.insert(header::RETRY_AFTER, retry_after);
    }
    response.extensions_mut().insert(refusal);
    response
}

/// The headers that RFC 9110 asks for with these statuses.
fn status_headers(headers: &mut HeaderMap, kind: RejectionKind, status: StatusCode) {
    let header = match kind {
        RejectionKind::MethodNotAllowed => (header::ALLOW, "POST"),
        RejectionKind::ContentEncoding => (header::ACCEPT_ENCODING, "identity"),
        _ if status == StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Roomz-Signature"),
        _ => return,
    };
    headers.insert(header.0, HeaderValue::from_static(header.1));
}
