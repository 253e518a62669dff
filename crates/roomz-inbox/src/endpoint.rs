use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use roomz_webhook::{Delivery, Rejection, RejectionKind, Skipped};
use tower_service::Service;

use crate::admission::{Admission, Enqueued};
use crate::error::InboxErrorKind;

/// The pause that a 503 asks for, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// The service behind the webhook layer that adds each event to the inbox. See
/// [`Inbox::endpoint`](crate::Inbox::endpoint).
#[derive(Clone, Debug)]
pub struct Endpoint(pub(crate) Admission);

impl<B> Service<Request<B>> for Endpoint {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let delivery = request.extensions().get::<Delivery>().cloned();
        let traceparent = traceparent(request.headers()).map(str::to_owned);
        let admission = self.0.clone();
        Box::pin(async move {
            let Some(delivery) = delivery else {
                return Ok(Rejection::new(RejectionKind::MissingLayer).into_response());
            };
            let enqueued =
                admission.enqueue(delivery.claim_key(), delivery.body(), traceparent.as_deref()).await;
            Ok(match enqueued {
                Ok(Enqueued::New) => accepted(),
                Ok(Enqueued::Duplicate) => Skipped::Duplicate.into_response(),
                Err(error) => unavailable(error.kind()),
            })
        })
    }
}

/// Returns the trace context, if it has the form of version 00 of W3C Trace Context. No other text gets into
/// the table.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let has_form = value.split('-').map(str::len).eq([2, 32, 16, 2]) && value.split('-').all(is_hex);
    // Version ff and ids of zeros are invalid.
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let is_valid = !value.starts_with("ff") && !value.split('-').skip(1).take(2).any(is_zero);
    (has_form && is_valid).then_some(value)
}

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn unavailable(kind: InboxErrorKind) -> Response<Full<Bytes>> {
    let kind = match kind {
        InboxErrorKind::Full => RejectionKind::Overloaded,
        _ => RejectionKind::StoreUnavailable,
    };
    let mut response = Rejection::new(kind).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}
