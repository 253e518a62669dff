use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// Why the layer rejected a delivery.
///
/// The response is `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`, `detail`
/// and `reason`. `reason` is stable, see [`RejectionKind::as_str`]. The rejection itself is in the response's
/// extensions.
///
/// ```
/// use roomz_webhook::{Rejection, RejectionKind};
///
/// fn is_forged<B>(response: &http::Response<B>) -> bool {
///     let rejection = response.extensions().get::<Rejection>();
///     rejection.is_some_and(|rejection| rejection.kind() == RejectionKind::SignatureMismatch)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    kind: RejectionKind,
    /// Replaces the text of the kind.
    detail: Option<String>,
}

/// The kind of a [`Rejection`]. Each kind has one status and one stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// 405: the method is not POST.
    MethodNotAllowed,
    /// 415: the body is compressed. The detail names the compression.
    ContentEncoding,
    /// 401: there is no signature header.
    SignatureMissing,
    /// 401: there is more than one signature header, also if a proxy joined them with a comma.
    SignatureRepeated,
    /// 401: the signature is not 88 characters of base64.
    SignatureMalformed,
    /// 413: the body is longer than the limit.
    BodyTooLarge,
    /// 408: the body was not complete before the deadline.
    BodyTimeout,
    /// 400: the connection broke while the body was read.
    BodyBroken,
    /// 401: the signature does not match the body under any secret.
    SignatureMismatch,
    /// 400: the body is signed, but it is not an event.
    EventMalformed,
    /// 400: the event is older than the maximum age.
    EventTooOld,
    /// 400: the event's timestamp is further ahead than the allowed clock skew.
    EventTooNew,
    /// 409: the id is known with another body, and [`IdReusePolicy::Reject`](crate::IdReusePolicy::Reject) is
    /// set.
    IdReused,
    /// 503: another delivery of the event is still in flight after the duplicate wait, or too many duplicates
    /// wait.
    InFlight,
    /// 503: the store is unavailable, slow or full.
    StoreUnavailable,
    /// 503: the receiver has no room for the event, such as a full inbox of `roomz-inbox`. The layer does not
    /// use it.
    Overloaded,
    /// 503: [`drain`](crate::WebhookLayer::drain) runs, or the runtime shut down.
    ShuttingDown,
    /// 503: the lookup of the request's tenant failed or took too long.
    TenantLookupFailed,
    /// 500: the handler panicked.
    HandlerPanicked,
    /// 500: an extractor found no delivery, because the layer is not in front of the route.
    MissingLayer,
}

impl Rejection {
    /// Creates a rejection with the general text of its kind.
    ///
    /// For extractors, and for receivers that do not use the layer.
    ///
    /// ```
    /// use roomz_webhook::{Rejection, RejectionKind};
    ///
    /// let response = Rejection::new(RejectionKind::MissingLayer).into_response::<bytes::Bytes>();
    /// assert_eq!(response.status(), 500);
    /// assert_eq!(response.headers()["content-type"], "application/problem+json");
    /// ```
    #[must_use]
    pub const fn new(kind: RejectionKind) -> Self {
        Self { kind, detail: None }
    }

    pub(crate) const fn with_detail(kind: RejectionKind, detail: String) -> Self {
        Self { kind, detail: Some(detail) }
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// Returns the status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns the body of the response: the problem as JSON.
    fn body_text(&self) -> String {
        let status = self.status();
        // Only the detail can hold what JSON escapes. A map of values takes a quarter of a forged request.
        // RFC 9457: `about:blank` means that the status tells the type of the problem.
        format!(
            r#"{{"detail":{},"reason":"{}","status":{},"title":"{}","type":"about:blank"}}"#,
            serde_json::Value::from(self.text()),
            self.kind.as_str(),
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
        )
    }

    fn text(&self) -> &str {
        self.detail.as_deref().unwrap_or(self.kind.row().2)
    }

    /// Converts this into its response, with this value in the extensions. A 503 has `Retry-After: 5`.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::from(self.body_text())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.kind.header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl RejectionKind {
    /// What anybody can cause without knowing a secret.
    pub(crate) const UNAUTHENTICATED: [Self; 10] = [
        Self::MethodNotAllowed,
        Self::ContentEncoding,
        Self::SignatureMissing,
        Self::SignatureRepeated,
        Self::SignatureMalformed,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::BodyBroken,
        Self::SignatureMismatch,
        Self::TenantLookupFailed,
    ];

    /// All others, for the series of the metrics.
    #[cfg(feature = "metrics")]
    pub(crate) const AUTHENTICATED: [Self; 10] = [
        Self::EventMalformed,
        Self::EventTooOld,
        Self::EventTooNew,
        Self::IdReused,
        Self::InFlight,
        Self::StoreUnavailable,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::HandlerPanicked,
        Self::MissingLayer,
    ];

    /// The status, the stable name, and what was wrong and what to do.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "a webhook delivery is a POST request; if the sender sent one, a redirect (301, 302) turned it into \
                 another: give ROOMZ the final https URL, or redirect with 307; if this path is not the webhook's, \
                 mount the layer on the webhook's route only",
            ),
            Self::ContentEncoding => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "content-encoding",
                "the body is compressed; send it as it was signed, without Content-Encoding",
            ),
            Self::SignatureMissing => {
                (S::UNAUTHORIZED, "signature-missing", "the signature header is missing")
            }
            Self::SignatureRepeated => (
                S::UNAUTHORIZED,
                "signature-repeated",
                "there is more than one signature header; send exactly one",
            ),
            Self::SignatureMalformed => (
                S::UNAUTHORIZED,
                "signature-malformed",
                "the signature is not 88 characters of standard base64",
            ),
            Self::BodyTooLarge => {
                (S::PAYLOAD_TOO_LARGE, "body-too-large", "the body is longer than the limit")
            }
            Self::BodyTimeout => {
                (S::REQUEST_TIMEOUT, "body-timeout", "the body was not complete before the deadline")
            }
            Self::BodyBroken => {
                (S::BAD_REQUEST, "body-broken", "the connection broke before the body was complete")
            }
            Self::SignatureMismatch => (
                S::UNAUTHORIZED,
                "signature-mismatch",
                "the signature does not match the body under any of the receiver's secrets; compare the secrets, and \
                 check that no proxy rewrites the body",
            ),
            Self::EventMalformed => (S::BAD_REQUEST, "event-malformed", "the body is not a ROOMZ event"),
            Self::EventTooOld => {
                (S::BAD_REQUEST, "event-too-old", "the event's timestamp is older than this receiver accepts")
            }
            Self::EventTooNew => (
                S::BAD_REQUEST,
                "event-too-new",
                "the event's timestamp is further in the future than this receiver accepts",
            ),
            Self::IdReused => {
                (S::CONFLICT, "id-reused", "an event with this id and another body was received before")
            }
            Self::InFlight => (
                S::SERVICE_UNAVAILABLE,
                "in-flight",
                "another delivery of this event is in flight; deliver it again later",
            ),
            Self::StoreUnavailable => (
                S::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "the store of the receiver is unavailable; deliver the event again later",
            ),
            Self::Overloaded => {
                (S::SERVICE_UNAVAILABLE, "overloaded", "the receiver is full; deliver the event again later")
            }
            Self::ShuttingDown => (
                S::SERVICE_UNAVAILABLE,
                "shutting-down",
                "the receiver is shutting down; deliver the event again later",
            ),
            Self::TenantLookupFailed => (
                S::SERVICE_UNAVAILABLE,
                "tenant-lookup-failed",
                "the tenant lookup failed; deliver the event again later",
            ),
            Self::HandlerPanicked => (
                S::INTERNAL_SERVER_ERROR,
                "handler-panicked",
                "the receiver failed; deliver the event again later",
            ),
            Self::MissingLayer => (
                S::INTERNAL_SERVER_ERROR,
                "missing-layer",
                "no verified delivery: add `roomz_webhook::WebhookLayer` to this route; if the layer has a path \
                 (`with_path`), it must be this route's path as the layer sees it, without the prefix of a `nest`",
            ),
        }
    }

    /// Returns the stable name, such as `signature-mismatch`.
    ///
    /// It is the member `reason` of the response and the label of the metric `roomz_webhook_rejected_total`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    const fn status(self) -> StatusCode {
        self.row().0
    }

    /// Returns whether anybody can cause this rejection without knowing a secret.
    ///
    /// All other rejections are of deliveries with a valid signature, or of receivers without a layer.
    ///
    /// ```
    /// use roomz_webhook::RejectionKind;
    ///
    /// assert!(RejectionKind::SignatureMismatch.is_unauthenticated());
    /// assert!(!RejectionKind::EventMalformed.is_unauthenticated());
    /// ```
    #[must_use]
    pub fn is_unauthenticated(self) -> bool {
        Self::UNAUTHENTICATED.contains(&self)
    }

    /// The header that RFC 9110 requires or defines for the status.
    fn header(self) -> Option<(HeaderName, &'static str)> {
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "POST")),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Some((header::ACCEPT_ENCODING, "identity")),
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Roomz-Signature")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            _ => None,
        }
    }
}

impl From<RejectionKind> for Rejection {
    fn from(kind: RejectionKind) -> Self {
        Self::new(kind)
    }
}

/// What was wrong and what to do. It never holds a secret, a signature or a part of the body.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Error for Rejection {}
