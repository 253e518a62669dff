use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// Why the layer rejected a delivery.
///
/// The response is `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`, `detail`
/// and `reason`. `reason` is stable, see [`RejectionKind::as_str`]. The rejection itself is in the response's
/// extensions. `Display` says what was wrong and what to do; it never holds a secret, a signature or a part
/// of the body.
///
/// ```
/// use roomz_webhook::{Rejection, RejectionKind};
///
/// fn is_forged<B>(response: &http::Response<B>) -> bool {
///     let rejection = response.extensions().get::<Rejection>();
///     rejection.is_some_and(|rejection| rejection.kind() == RejectionKind::SignatureMismatch)
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    kind: RejectionKind,
    /// The text of the kind, or one of its own.
    detail: Cow<'static, str>,
}

/// Anybody can cause the rejection without knowing a secret.
const UNSIGNED: bool = true;
/// The delivery has a valid signature, or the receiver has no layer.
const SIGNED: bool = false;

/// Defines the kinds: the status, the stable name, who can cause it, and what was wrong and what to do.
macro_rules! kinds {
    ($($(#[$docs:meta])* $kind:ident = $status:ident, $name:literal, $cause:ident: $text:literal;)*) => {
        /// The kind of a [`Rejection`]. Each kind has one status and one stable name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RejectionKind {
            $($(#[$docs])* $kind,)*
        }

        impl RejectionKind {
            /// For the series of the metrics.
            #[cfg(feature = "metrics")]
            pub(crate) const ALL: &[Self] = &[$(Self::$kind),*];

            const fn row(self) -> (StatusCode, &'static str, bool, &'static str) {
                match self {
                    $(Self::$kind => (StatusCode::$status, $name, $cause, $text),)*
                }
            }
        }
    };
}

kinds! {
    /// 405: the method is not POST.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", UNSIGNED:
    "a webhook delivery is a POST request; if the sender sent one, a redirect (301, 302) turned it into \
     another: give ROOMZ the final https URL, or redirect with 307; if this path is not the webhook's, \
     mount the layer on the webhook's route only";
    /// 415: the body is compressed. The detail names the compression.
    ContentEncoding = UNSUPPORTED_MEDIA_TYPE, "content-encoding", UNSIGNED:
    "the body is compressed; send it as it was signed, without Content-Encoding";
    /// 401: there is no signature header.
    SignatureMissing = UNAUTHORIZED, "signature-missing", UNSIGNED:
    "the signature header is missing";
    /// 401: there is more than one signature header, also if a proxy joined them with a comma.
    SignatureRepeated = UNAUTHORIZED, "signature-repeated", UNSIGNED:
    "there is more than one signature header; send exactly one";
    /// 401: the signature is not 88 characters of base64.
    SignatureMalformed = UNAUTHORIZED, "signature-malformed", UNSIGNED:
    "the signature is not 88 characters of standard base64";
    /// 413: the body is longer than the limit.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large", UNSIGNED:
    "the body is longer than the limit";
    /// 408: the body was not complete before the deadline.
    BodyTimeout = REQUEST_TIMEOUT, "body-timeout", UNSIGNED:
    "the body was not complete before the deadline";
    /// 400: the connection broke while the body was read.
    BodyBroken = BAD_REQUEST, "body-broken", UNSIGNED:
    "the connection broke before the body was complete";
    /// 401: the signature does not match the body under any secret.
    SignatureMismatch = UNAUTHORIZED, "signature-mismatch", UNSIGNED:
    "the signature does not match the body under any of the receiver's secrets; compare the secrets, and \
     check that no proxy rewrites the body";
    /// 400: the body is signed, but it is not an event.
    EventMalformed = BAD_REQUEST, "event-malformed", SIGNED:
    "the body is not a ROOMZ event";
    /// 400: the event is older than the maximum age.
    EventTooOld = BAD_REQUEST, "event-too-old", SIGNED:
    "the event's timestamp is older than this receiver accepts";
    /// 400: the event's timestamp is further ahead than the allowed clock skew.
    EventTooNew = BAD_REQUEST, "event-too-new", SIGNED:
    "the event's timestamp is further in the future than this receiver accepts";
    /// 409: the id is known with another body, and [`IdReusePolicy::Reject`](crate::IdReusePolicy::Reject) is
    /// set.
    IdReused = CONFLICT, "id-reused", SIGNED:
    "an event with this id and another body was received before";
    /// 503: another delivery of the event is still in flight after the duplicate wait, or too many duplicates
    /// wait.
    InFlight = SERVICE_UNAVAILABLE, "in-flight", SIGNED:
    "another delivery of this event is in flight; deliver it again later";
    /// 503: the store is unavailable, slow or full.
    StoreUnavailable = SERVICE_UNAVAILABLE, "store-unavailable", SIGNED:
    "the store of the receiver is unavailable; deliver the event again later";
    /// 503: the receiver has no room for the event, such as a full inbox of `roomz-inbox`. The layer does not
    /// use it.
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", SIGNED:
    "the receiver is full; deliver the event again later";
    /// 503: [`drain`](crate::WebhookLayer::drain) runs, or the runtime shut down.
    ShuttingDown = SERVICE_UNAVAILABLE, "shutting-down", SIGNED:
    "the receiver is shutting down; deliver the event again later";
    /// 503: the lookup of the request's tenant failed or took too long.
    TenantLookupFailed = SERVICE_UNAVAILABLE, "tenant-lookup-failed", UNSIGNED:
    "the tenant lookup failed; deliver the event again later";
    /// 500: the handler panicked.
    HandlerPanicked = INTERNAL_SERVER_ERROR, "handler-panicked", SIGNED:
    "the receiver failed; deliver the event again later";
    /// 500: an extractor found no delivery, because the layer is not in front of the route.
    MissingLayer = INTERNAL_SERVER_ERROR, "missing-layer", SIGNED:
    "no verified delivery: add `roomz_webhook::WebhookLayer` to this route; if the layer has a path \
     (`with_path`), it must be this route's path as the layer sees it, without the prefix of a `nest`";
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
        Self { kind, detail: Cow::Borrowed(kind.row().3) }
    }

    pub(crate) const fn with_detail(kind: RejectionKind, detail: String) -> Self {
        Self { kind, detail: Cow::Owned(detail) }
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
            serde_json::Value::from(&*self.detail),
            self.kind.as_str(),
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
        )
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
    pub const fn is_unauthenticated(self) -> bool {
        self.row().2
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
