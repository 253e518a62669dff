use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use roomz_protocol::{ParseError, SignatureError};

/// Why the layer rejected a delivery.
///
/// The response is `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`, `detail` and
/// `reason`. `reason` is stable, see [`reason`](Self::reason). The rejection itself is in the response's extensions.
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
    detail: Detail,
}

/// The kind of a [`Rejection`]. Each kind has one status and one stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// 405: the method is not POST.
    MethodNotAllowed,
    /// 415: the body is compressed.
    ContentEncoding,
    /// 401: there is no signature header.
    SignatureMissing,
    /// 401: there is more than one signature header.
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
    /// 409: the id is known with another body, and [`IdReusePolicy::Reject`](crate::IdReusePolicy::Reject) is set.
    IdReused,
    /// 503: another delivery of the event is still in flight after the duplicate wait, or too many duplicates wait.
    InFlight,
    /// 503: the store is unavailable, slow or full.
    StoreUnavailable,
    /// 503: the limit of running handlers
    /// ([`with_max_running_handlers`](crate::WebhookLayerBuilder::with_max_running_handlers)) is still reached after the
    /// duplicate wait, or too many events wait for it.
    Overloaded,
    /// 503: [`drain`](crate::WebhookLayer::drain) runs, or the runtime shut down.
    ShuttingDown,
    /// 503: the lookup of the request's tenant failed or took too long.
    TenantLookupFailed,
    /// 500: the handler panicked.
    HandlerPanicked,
    /// 500: the request already passed another layer with the same store and namespace.
    NestedLayers,
    /// 500: an extractor found no delivery, because the layer is not in front of the route.
    MissingLayer,
}

#[derive(Clone, Debug)]
enum Detail {
    OfKind,
    SignatureMissing(HeaderName),
    SignatureRepeated(HeaderName, usize),
    SignatureMalformed(SignatureError),
    BodyTooLarge(usize),
    EventMalformed(ParseError),
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
        Self { kind, detail: Detail::OfKind }
    }

    pub(crate) const fn signature_missing(header: HeaderName) -> Self {
        Self { kind: RejectionKind::SignatureMissing, detail: Detail::SignatureMissing(header) }
    }

    pub(crate) const fn signature_repeated(header: HeaderName, count: usize) -> Self {
        Self { kind: RejectionKind::SignatureRepeated, detail: Detail::SignatureRepeated(header, count) }
    }

    pub(crate) const fn signature_malformed(error: SignatureError) -> Self {
        Self { kind: RejectionKind::SignatureMalformed, detail: Detail::SignatureMalformed(error) }
    }

    pub(crate) const fn body_too_large(limit: usize) -> Self {
        Self { kind: RejectionKind::BodyTooLarge, detail: Detail::BodyTooLarge(limit) }
    }

    pub(crate) const fn event_malformed(error: ParseError) -> Self {
        Self { kind: RejectionKind::EventMalformed, detail: Detail::EventMalformed(error) }
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

    /// Returns the stable name of the kind, such as `signature-mismatch`.
    ///
    /// It is the member `reason` of the response and the label of the metric `roomz_webhook_rejected_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.kind.as_str()
    }

    /// Returns the body of the response: the problem as JSON.
    #[must_use]
    pub fn body_text(&self) -> String {
        let status = self.status();
        serde_json::json!({
            // RFC 9457: `about:blank` means that the status tells the type of the problem.
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
            "reason": self.reason(),
        })
        .to_string()
    }

    /// Converts this into its response, with this value in the extensions.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        let mut response = Response::new(B::from(Bytes::from(self.body_text())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.kind.required_header() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl RejectionKind {
    /// Every kind, for the series of the metrics.
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 21] = [
        Self::MethodNotAllowed,
        Self::ContentEncoding,
        Self::SignatureMissing,
        Self::SignatureRepeated,
        Self::SignatureMalformed,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::BodyBroken,
        Self::SignatureMismatch,
        Self::EventMalformed,
        Self::EventTooOld,
        Self::EventTooNew,
        Self::IdReused,
        Self::InFlight,
        Self::StoreUnavailable,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::TenantLookupFailed,
        Self::HandlerPanicked,
        Self::NestedLayers,
        Self::MissingLayer,
    ];

    /// Returns the stable name, such as `signature-mismatch`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method-not-allowed",
            Self::ContentEncoding => "content-encoding",
            Self::SignatureMissing => "signature-missing",
            Self::SignatureRepeated => "signature-repeated",
            Self::SignatureMalformed => "signature-malformed",
            Self::BodyTooLarge => "body-too-large",
            Self::BodyTimeout => "body-timeout",
            Self::BodyBroken => "body-broken",
            Self::SignatureMismatch => "signature-mismatch",
            Self::EventMalformed => "event-malformed",
            Self::EventTooOld => "event-too-old",
            Self::EventTooNew => "event-too-new",
            Self::IdReused => "id-reused",
            Self::InFlight => "in-flight",
            Self::StoreUnavailable => "store-unavailable",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting-down",
            Self::TenantLookupFailed => "tenant-lookup-failed",
            Self::HandlerPanicked => "handler-panicked",
            Self::NestedLayers => "nested-layers",
            Self::MissingLayer => "missing-layer",
        }
    }

    /// Returns the status of the response.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::SignatureMissing
            | Self::SignatureRepeated
            | Self::SignatureMalformed
            | Self::SignatureMismatch => StatusCode::UNAUTHORIZED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyBroken | Self::EventMalformed | Self::EventTooOld | Self::EventTooNew => {
                StatusCode::BAD_REQUEST
            }
            Self::IdReused => StatusCode::CONFLICT,
            Self::InFlight
            | Self::StoreUnavailable
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::TenantLookupFailed => StatusCode::SERVICE_UNAVAILABLE,
            Self::HandlerPanicked | Self::NestedLayers | Self::MissingLayer => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
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
        matches!(
            self,
            Self::MethodNotAllowed
                | Self::ContentEncoding
                | Self::SignatureMissing
                | Self::SignatureRepeated
                | Self::SignatureMalformed
                | Self::BodyTooLarge
                | Self::BodyTimeout
                | Self::BodyBroken
                | Self::SignatureMismatch
                | Self::TenantLookupFailed
        )
    }

    /// The header that RFC 9110 requires with the status.
    fn required_header(self) -> Option<(HeaderName, &'static str)> {
        match self {
            Self::MethodNotAllowed => Some((header::ALLOW, "POST")),
            Self::ContentEncoding => Some((header::ACCEPT_ENCODING, "identity")),
            _ if self.status() == StatusCode::UNAUTHORIZED => {
                Some((header::WWW_AUTHENTICATE, "Roomz-Signature"))
            }
            _ => None,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => {
                "a webhook delivery is a POST request; if this path is not the webhook's, mount the layer on the \
                 webhook's route only"
            }
            Self::ContentEncoding => {
                "the body is compressed; send it as it was signed, without Content-Encoding"
            }
            Self::SignatureMissing => "the signature header is missing",
            Self::SignatureRepeated => "there is more than one signature header; send exactly one",
            Self::SignatureMalformed => "the signature is not 88 characters of standard base64",
            Self::BodyTooLarge => "the body is longer than the limit",
            Self::BodyTimeout => "the body was not complete before the deadline",
            Self::BodyBroken => "the connection broke before the body was complete",
            Self::SignatureMismatch => {
                "the signature does not match the body under any of the receiver's secrets; compare the secrets, and \
                 check that no proxy rewrites the body"
            }
            Self::EventMalformed => "the body is not a ROOMZ event",
            Self::EventTooOld => "the event's timestamp is older than this receiver accepts",
            Self::EventTooNew => "the event's timestamp is further in the future than this receiver accepts",
            Self::IdReused => "an event with this id and another body was received before",
            Self::InFlight => "another delivery of this event is in flight; deliver it again later",
            Self::StoreUnavailable => {
                "the receiver cannot check whether this event was handled before; deliver it again later"
            }
            Self::Overloaded => "the limit of running handlers is reached; deliver the event again later",
            Self::ShuttingDown => "the receiver is shutting down; deliver the event again later",
            Self::TenantLookupFailed => "the tenant lookup failed; deliver the event again later",
            Self::HandlerPanicked => "the receiver failed; deliver the event again later",
            Self::NestedLayers => {
                "nested webhook layers claim the event in the same store and namespace; remove one of them, or give them \
                 different namespaces"
            }
            Self::MissingLayer => {
                "no verified delivery: add `roomz_webhook::WebhookLayer` to this route; if the layer has a path \
                 (`with_path`), it must be this route's path as the layer sees it, without the prefix of a `nest`"
            }
        }
    }
}

/// What was wrong and what to do. It never holds a secret, a signature or a part of the body.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Detail::OfKind => f.write_str(self.kind.text()),
            Detail::SignatureMissing(header) => write!(f, "the header `{header}` is missing"),
            Detail::SignatureRepeated(header, count) => {
                write!(f, "there are {count} headers `{header}`; send exactly one")
            }
            Detail::SignatureMalformed(error) => error.fmt(f),
            Detail::BodyTooLarge(limit) => write!(f, "the body is longer than {limit} bytes"),
            Detail::EventMalformed(error) => error.fmt(f),
        }
    }
}

impl Error for Rejection {}
