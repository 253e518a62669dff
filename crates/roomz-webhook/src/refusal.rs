use std::error::Error;
use std::fmt;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};
use roomz_protocol::{ParseError, SignatureError};

use crate::answer::problem;

/// Why a delivery was answered by the layer and not by the service. It is also in the extensions of the response.
///
/// The response is `application/problem+json` (RFC 9457) with the members `type`, `title`, `status`, `detail` and
/// `reason`; the last is [`reason`](Self::reason) and stable.
///
/// ```
/// use roomz_webhook::{Rejection, RejectionKind};
///
/// fn is_a_forgery<B>(response: &http::Response<B>) -> bool {
///     let refusal = response.extensions().get::<Rejection>();
///     refusal.is_some_and(|refusal| refusal.kind() == RejectionKind::SignatureMismatch)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Rejection {
    kind: RejectionKind,
    detail: Detail,
}

/// What kind of refusal it is.
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
    /// 408: the body was not complete in time.
    BodyTimeout,
    /// 400: the connection broke while the body was read.
    BodyBroken,
    /// 401: the signature is not that of the body under any of the secrets.
    SignatureMismatch,
    /// 400: the body is signed, but not an event.
    EventMalformed,
    /// 400: the event is older than the maximum age.
    EventTooOld,
    /// 400: the event is dated further ahead than the clocks may differ.
    EventTooNew,
    /// 409: the id is known with another body, and the policy is to refuse that.
    IdReused,
    /// 503: the same event is being handled, and that took too long to wait for.
    InFlight,
    /// 503: the store is down, slow or full.
    StoreUnavailable,
    /// 500: the handler panicked.
    HandlerPanicked,
    /// 500: an extractor found no delivery, because the layer is not in front of the route.
    MissingLayer,
}

#[derive(Clone, Debug)]
enum Detail {
    Plain(&'static str),
    NoHeader(HeaderName),
    Headers(HeaderName, usize),
    Signature(SignatureError),
    Limit(usize),
    Parse(ParseError),
}

impl Rejection {
    /// Creates a rejection with the general text of its kind, for an extractor or a receiver without the layer.
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
        let detail = match kind {
            RejectionKind::MethodNotAllowed => {
                "a webhook is delivered with POST; if this path is none, mount the layer on the webhook's route only"
            }
            RejectionKind::ContentEncoding => "send the body as it was signed, without Content-Encoding",
            RejectionKind::BodyTimeout => "the body was not complete in time",
            RejectionKind::BodyBroken => "the connection broke before the body was complete",
            RejectionKind::SignatureMismatch => {
                "the signature is not that of the body under any of the receiver's secrets: compare the secrets, and \
                 see that nothing on the way rewrites the body"
            }
            RejectionKind::EventTooOld => "the event's timestamp is older than this receiver accepts",
            RejectionKind::EventTooNew => "the event's timestamp is further ahead than this receiver accepts",
            RejectionKind::IdReused => "an event with this id and another body has been received",
            RejectionKind::InFlight => "the same event is being handled; deliver it again later",
            RejectionKind::StoreUnavailable => {
                "the receiver cannot say whether it has handled this event; deliver it again later"
            }
            RejectionKind::HandlerPanicked => "the receiver failed; deliver the event again later",
            RejectionKind::MissingLayer => {
                "no verified delivery: add `roomz_webhook::WebhookLayer` to this route; if the layer has a path \
                 (`with_path`), it must be this route's path as the layer sees it, without the prefix of a `nest`"
            }
            RejectionKind::SignatureMissing => "there is no signature header",
            RejectionKind::SignatureRepeated => "there is more than one signature header",
            RejectionKind::SignatureMalformed => "the signature is not 88 characters of standard base64",
            RejectionKind::BodyTooLarge => "the body is longer than the limit",
            RejectionKind::EventMalformed => "the body is not a ROOMZ event",
        };
        Self { kind, detail: Detail::Plain(detail) }
    }

    pub(crate) const fn signature_missing(header: HeaderName) -> Self {
        Self { kind: RejectionKind::SignatureMissing, detail: Detail::NoHeader(header) }
    }

    pub(crate) const fn signature_repeated(header: HeaderName, found: usize) -> Self {
        Self { kind: RejectionKind::SignatureRepeated, detail: Detail::Headers(header, found) }
    }

    pub(crate) const fn signature_malformed(error: SignatureError) -> Self {
        Self { kind: RejectionKind::SignatureMalformed, detail: Detail::Signature(error) }
    }

    pub(crate) const fn body_too_large(limit: usize) -> Self {
        Self { kind: RejectionKind::BodyTooLarge, detail: Detail::Limit(limit) }
    }

    pub(crate) const fn event_malformed(error: ParseError) -> Self {
        Self { kind: RejectionKind::EventMalformed, detail: Detail::Parse(error) }
    }

    /// What kind of refusal it is.
    #[must_use]
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self.kind {
            RejectionKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            RejectionKind::ContentEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            RejectionKind::SignatureMissing
            | RejectionKind::SignatureRepeated
            | RejectionKind::SignatureMalformed
            | RejectionKind::SignatureMismatch => StatusCode::UNAUTHORIZED,
            RejectionKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            RejectionKind::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            RejectionKind::BodyBroken
            | RejectionKind::EventMalformed
            | RejectionKind::EventTooOld
            | RejectionKind::EventTooNew => StatusCode::BAD_REQUEST,
            RejectionKind::IdReused => StatusCode::CONFLICT,
            RejectionKind::InFlight | RejectionKind::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            RejectionKind::HandlerPanicked | RejectionKind::MissingLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Converts this rejection into its response: `application/problem+json`, with this value in the extensions.
    #[must_use]
    pub fn into_response<B: From<Bytes>>(self) -> Response<B> {
        problem(self, None).map(B::from)
    }

    /// The stable name of the kind, such as `signature-mismatch`: the member `reason` of the answer and the label
    /// of the metric.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.kind.as_str()
    }
}

impl RejectionKind {
    /// The stable name, such as `signature-mismatch`.
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
            Self::HandlerPanicked => "handler-panicked",
            Self::MissingLayer => "missing-layer",
        }
    }
}

/// What was wrong and what to do, for a person. It never holds a secret, a signature or a part of the body.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Detail::Plain(text) => f.write_str(text),
            Detail::NoHeader(header) => write!(f, "there is no header `{header}`"),
            Detail::Headers(header, found) => {
                write!(f, "there are {found} headers `{header}` instead of one")
            }
            Detail::Signature(error) => error.fmt(f),
            Detail::Limit(limit) => write!(f, "the body is longer than {limit} bytes"),
            Detail::Parse(error) => error.fmt(f),
        }
    }
}

impl Error for Rejection {}
