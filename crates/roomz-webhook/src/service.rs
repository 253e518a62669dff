use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use roomz_protocol::Event;
use tower_service::Service;
use tracing::Instrument as _;

use crate::body::{BoxError, WebhookBody};
use crate::claim::{self, Settlement};
use crate::config::Config;
use crate::delivery::Delivery;
use crate::finish::FinishOnDrop;
use crate::response::{EarlyResponse, Rejection, RejectionKind, ResponseBody};
use crate::state::Shared;
use crate::store::ClaimKey;
use crate::telemetry;
use crate::verify::{body, freshness, head, secrets};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The service that [`WebhookLayer`](crate::WebhookLayer) creates.
///
/// Dropping its future before the delivery is verified ends the request. From the claim on, the delivery
/// goes on in a task after a drop, for example because the client disconnected: a running handler finishes
/// and its claim is settled.
#[derive(Clone)]
#[must_use = "a service does nothing until it is called"]
pub struct Webhook<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Webhook<S> {
    pub(crate) const fn new(shared: Arc<Shared>, inner: S) -> Self {
        Self { shared, inner }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, without the layer.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Webhook<S>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>, Future: Send, Error: Send>,
    S: Clone + Send + 'static,
    ReqBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    ResBody: Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    /// Always ready: a rejection needs no inner service, so `call` polls the inner service for readiness.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let inner = self.inner.clone();
        if !is_delivery(&shared, &request) {
            let response = claim::call_when_ready(inner, request.map(WebhookBody::streaming));
            return Box::pin(async move { Ok(response.await?.map(ResponseBody::from_service)) });
        }
        // HTTP/2 has no connection header, and other requests may change their protocol.
        let may_close = request.version() < Version::HTTP_2;
        let (head, body) = request.into_parts();
        // The body is boxed, because a task reads the rest of a rejected one.
        let (head, body) = (Box::new(head), Box::pin(body));
        Box::pin(async move {
            let mut response = receive(&shared, inner, head, body).await?;
            if may_close && shared.readiness.is_shutting_down() {
                response.headers_mut().insert(CONNECTION, CLOSE);
            }
            Ok(response)
        })
    }
}

/// The whole path of a delivery: `verify`, then `handle`.
async fn receive<S, ReqBody, ResBody>(
    shared: &Arc<Shared>,
    inner: S,
    head: Box<Parts>,
    mut body: Pin<Box<ReqBody>>,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>, Future: Send, Error: Send>,
    S: Send + 'static,
    ReqBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    ResBody: Send + 'static,
{
    let is_http_1 = head.version < Version::HTTP_2;
    let verified = match verify(&shared.config, head, body.as_mut()).await {
        Ok(verified) => verified,
        Err(early) => {
            if let EarlyResponse::Rejected(rejection) = &early
                && rejection.kind().is_unauthenticated()
                && let Some(count) = shared.rejections.count(shared.config.clock.monotonic())
            {
                telemetry::unsigned_requests_rejected(count, rejection.kind().as_str());
            }
            let is_unread = early.is_before_end_of_body() && is_http_1 && !body.is_end_stream();
            let mut response = respond_early(early);
            if is_unread {
                // The server closes the connection: a proxy must not send the next delivery on it.
                response.headers_mut().insert(CONNECTION, CLOSE);
                // After a timeout or a broken connection, nothing more is expected.
                if !matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_REQUEST) {
                    let Config { body_timeout, body_limit, .. } = shared.config;
                    drop(tokio::spawn(body::discard(body, body_timeout, body_limit)));
                }
            }
            return Ok(response);
        }
    };
    drop(body);
    finish(Arc::clone(shared), inner, verified).await
}

/// Checks 1 to 8. Nothing unsigned reaches the store.
///
/// The head and the result are in boxes, because each of the nested futures would have room for them.
async fn verify(
    config: &Config,
    head: Box<Parts>,
    body: Pin<&mut impl Body<Data = Bytes, Error: Into<BoxError>>>,
) -> Result<Box<Verified>, EarlyResponse> {
    let signature = head::check(&head, config)?;
    let (namespace, secrets) = secrets::find(&head, config).await?;
    let (body, secret_position) = body::read_and_verify(body, &signature, &secrets, config).await?;
    telemetry::verified(secret_position, config.secrets.has_tenants().then_some(&*namespace));
    let event = Event::parse(&body)
        .map_err(|error| Rejection::with_detail(RejectionKind::EventMalformed, error.to_string()))?;
    freshness::check(&event, config)?;
    let key = ClaimKey::new(namespace, event.id);
    Ok(Box::new(Verified { head, key, event, body, secret_position }))
}

/// Checks 9 and 10, and the settlement: also if the returned future is dropped.
///
/// It is a function, so that the future of the request has no room for this one.
fn finish<S, ResBody>(
    shared: Arc<Shared>,
    inner: S,
    verified: Box<Verified>,
) -> FinishOnDrop<Result<Response<ResponseBody<ResBody>>, S::Error>>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>, Future: Send, Error: Send>,
    S: Send + 'static,
    ResBody: Send + 'static,
{
    let tenant = shared.config.secrets.has_tenants().then(|| verified.key.namespace());
    let span = telemetry::delivery_span(&verified.event, tenant);
    let running = shared.tasks.token();
    let work = async move {
        let response = handle(&shared, inner, verified).await;
        drop(running);
        response
    };
    FinishOnDrop::new(work.instrument(span))
}

/// A delivery that passed checks 1 to 8.
struct Verified {
    head: Box<Parts>,
    key: ClaimKey,
    event: Event,
    body: Bytes,
    secret_position: usize,
}

/// Checks 9 and 10, and the settlement.
///
/// What is large and moved is in a box: each of the nested futures would have room for it.
async fn handle<S, ResBody>(
    shared: &Arc<Shared>,
    inner: S,
    verified: Box<Verified>,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>>,
{
    // Check 9: the claim.
    let held = match claim::acquire(shared, verified.key.clone(), &verified.body).await {
        Ok(held) => held,
        Err(early) => {
            let mut response = respond_early(early);
            // For logs and metrics in front of the layer: the handler, which knows the event, is not called.
            response.extensions_mut().insert(verified.event.id);
            return Ok(response);
        }
    };
    let unsettled = telemetry::UnsettledGuard::new();

    // Check 10: the inner service gets the same bytes, and a `Delivery` in the extensions.
    let Verified { mut head, key: _, event, body, secret_position } = *verified;
    let delivery = Delivery::new(shared, &held, event, body.clone(), secret_position);
    head.extensions.insert(delivery.clone());
    let outcome = claim::run(shared, &held, delivery.event(), inner, head, body).await;

    // A 2xx completes the event. Anything else releases it, so that a redelivery runs the handler again.
    let (settlement, response) = settlement(outcome);
    claim::settle(shared, held, settlement).await;
    unsettled.settled();
    response
}

/// Returns how the claim ends, and the response.
fn settlement<ResBody, E>(
    outcome: Result<Result<Response<ResBody>, E>, RejectionKind>,
) -> (Settlement, Result<Response<ResponseBody<ResBody>>, E>) {
    match outcome {
        Ok(Ok(response)) if response.status().is_success() => {
            telemetry::completed(&response);
            (Settlement::Complete, Ok(response.map(ResponseBody::from_service)))
        }
        Ok(Ok(response)) => {
            telemetry::released("handler returned a status other than 2xx", Some(response.status()));
            (Settlement::Release, Ok(response.map(ResponseBody::from_service)))
        }
        Ok(Err(error)) => {
            telemetry::released("handler failed", None);
            (Settlement::Release, Err(error))
        }
        Err(kind) => {
            if kind == RejectionKind::HandlerPanicked {
                telemetry::released("handler panicked", None);
            }
            (Settlement::Release, Ok(respond_early(kind)))
        }
    }
}

/// Returns true if the path matches and this layer has not handled the request already, when it is mounted
/// twice.
fn is_delivery<B>(shared: &Arc<Shared>, request: &Request<B>) -> bool {
    let path_matches = shared.config.path.as_deref().is_none_or(|path| {
        let matches = path == request.uri().path();
        if matches {
            shared.path_check.matched();
        } else if request.headers().contains_key(&shared.config.signature_header)
            && shared.path_check.is_warning_due()
        {
            telemetry::path_never_matched(path, request.uri().path());
        }
        matches
    });
    let delivery = request.extensions().get::<Delivery>();
    path_matches && !delivery.is_some_and(|delivery| delivery.belongs_to(shared))
}

fn respond_early<B>(early: impl Into<EarlyResponse>) -> Response<ResponseBody<B>> {
    let early = early.into();
    match &early {
        EarlyResponse::Rejected(rejection) => telemetry::rejected(rejection),
        EarlyResponse::Skipped(skipped) => telemetry::skipped(*skipped),
    }
    early.into_response()
}

impl<S: fmt::Debug> fmt::Debug for Webhook<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("inner", &self.inner).finish_non_exhaustive()
    }
}
