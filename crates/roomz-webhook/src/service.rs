use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use roomz_protocol::Event;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_service::Service;
use tracing::Instrument as _;

use crate::body::{BoxError, WebhookBody};
use crate::claim::{self, HeldClaim, Settlement};
use crate::config::Config;
use crate::delivery::{Delivery, DeliveryClaim};
use crate::future::ResponseFuture;
use crate::response::{EarlyResponse, Rejection, RejectionKind, ResponseBody};
use crate::state::Shared;
use crate::store::ClaimKey;
use crate::telemetry;
use crate::verify::secrets::Credentials;
use crate::verify::{body, freshness, head, secrets};

/// The service that [`WebhookLayer`](crate::WebhookLayer) creates.
#[derive(Clone)]
#[must_use = "a service does nothing until it is called"]
pub struct Webhook<S> {
    shared: Arc<Shared>,
    service: S,
}

impl<S> Webhook<S> {
    pub(crate) const fn new(shared: Arc<Shared>, service: S) -> Self {
        Self { shared, service }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Webhook<S>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    ReqBody: Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<ResBody, S::Error>;

    /// Always ready: a rejection needs no inner service, so `call` polls the inner service for readiness.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let service = self.service.clone();
        if !is_delivery(&shared, &request) {
            let request = request.map(WebhookBody::streaming);
            let response = claim::call_when_ready(service, request);
            return ResponseFuture::new(async move { Ok(response.await?.map(ResponseBody::from_service)) });
        }
        // HTTP/2 has no connection header, and other requests may change their protocol.
        let may_close = request.version() < Version::HTTP_2;
        let (head, body) = request.into_parts();
        let head = Box::new(head);
        ResponseFuture::new(async move {
            let mut response = receive(&shared, service, head, body).await?;
            if may_close && shared.readiness.is_shutting_down() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

/// The whole path of a delivery: `verify`, then `handle` in a task.
async fn receive<S, ReqBody, ResBody>(
    shared: &Arc<Shared>,
    service: S,
    head: Box<Parts>,
    body: ReqBody,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    ReqBody: Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: Send + 'static,
{
    let verified = match verify(&shared.config, head, body).await {
        Ok(verified) => verified,
        Err(early) => {
            if let EarlyResponse::Rejected { rejection, .. } = &early
                && rejection.kind().is_unauthenticated()
                && let Some(count) = shared.rejections.count(shared.config.clock.monotonic())
            {
                telemetry::unsigned_requests_rejected(count, rejection.reason());
            }
            return Ok(respond_early(early));
        }
    };
    let retry_after = shared.config.retry_after;
    // Without a response, the runtime is shutting down.
    let shutting_down =
        |_| Ok(respond_early(EarlyResponse::rejected(RejectionKind::ShuttingDown, retry_after)));
    spawn(Arc::clone(shared), service, verified).await.unwrap_or_else(shutting_down)
}

/// Checks 1 to 8. Nothing unsigned reaches the store.
///
/// The head and the result are in boxes, because each of the nested futures would have room for them.
async fn verify<ReqBody>(
    config: &Config,
    head: Box<Parts>,
    body: ReqBody,
) -> Result<Box<Verified>, EarlyResponse>
where
    ReqBody: Body<Data = Bytes>,
    ReqBody::Error: Into<BoxError>,
{
    let signature = head::check(&head, config)?;
    let Credentials { namespace, secrets, padding } = secrets::find(&head, config).await?;
    let (body, secret_index) = body::read_and_verify(body, &signature, &secrets, padding, config).await?;
    let Some(namespace) = namespace else {
        return Err(RejectionKind::SignatureMismatch.into());
    };
    telemetry::verified(secret_index, config.has_tenants().then_some(&*namespace));
    let event = Event::parse(&body).map_err(Rejection::event_malformed)?;
    freshness::check(&event, config)?;
    let key = ClaimKey::new(namespace, event.id);
    Ok(Box::new(Verified { head, key, event, body, secret_index }))
}

/// Checks 9 and 10, and the settlement, in a task of their own: the delivery is finished even if the client disconnects.
///
/// It is a function, so that the future of the request has no room for the future of the task.
fn spawn<S, ResBody>(
    shared: Arc<Shared>,
    service: S,
    verified: Box<Verified>,
) -> oneshot::Receiver<Result<Response<ResponseBody<ResBody>>, S::Error>>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    ResBody: Send + 'static,
{
    let tenant = shared.config.has_tenants().then(|| verified.key.namespace());
    let span = telemetry::delivery_span(&verified.event, tenant);
    let (mut response_sender, response_receiver) = oneshot::channel();
    let tasks = shared.tasks.clone();
    let work = async move {
        let response = handle(&shared, service, verified, response_sender.closed()).await;
        // An error means that the client disconnected.
        let _ = response_sender.send(response);
    };
    // Boxed first, because `spawn` moves the future several times.
    // The caller's span is kept when this layer's own span is disabled.
    drop(tasks.spawn(Box::pin(work).instrument(span).in_current_span()));
    response_receiver
}

/// A delivery that passed checks 1 to 8.
struct Verified {
    head: Box<Parts>,
    key: ClaimKey,
    event: Event,
    body: Bytes,
    secret_index: usize,
}

/// Checks 9 and 10, and the settlement.
///
/// What is large and moved is in a box: each of the nested futures would have room for it.
async fn handle<S, ResBody>(
    shared: &Arc<Shared>,
    service: S,
    verified: Box<Verified>,
    disconnected: impl Future<Output = ()>,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>>,
{
    // Check 9: the claim.
    let start = Instant::now();
    let outer = verified.head.extensions.get::<Delivery>().cloned();
    let find_outer = |key: &ClaimKey| outer.as_ref()?.find_claim(key);
    let key = verified.key.clone();
    let held = match claim::acquire(shared, key, &verified.body, find_outer, start, disconnected).await {
        Ok(held) => held,
        Err(early) => return Ok(respond_early(early)),
    };
    let unsettled = telemetry::UnsettledGuard::new();

    // Check 10: the inner service gets the same bytes, and a `Delivery` in the extensions.
    let (delivery, request) = delivery_request(shared, *verified, &held, outer);
    let wait_deadline = start + shared.config.duplicate_wait;
    let (_permit, outcome) =
        claim::run(shared, &held, delivery.event(), wait_deadline, service, request).await;

    // A 2xx completes the event. Anything else releases it, so that a redelivery runs the handler again.
    let (settlement, response) = settlement(shared, outcome);
    claim::settle(shared, held, settlement).await;
    unsettled.settled();
    response
}

/// Returns the request for the inner service, with its `Delivery` in the extensions.
fn delivery_request(
    shared: &Arc<Shared>,
    verified: Verified,
    held: &HeldClaim,
    outer: Option<Delivery>,
) -> (Delivery, Box<Request<WebhookBody>>) {
    let Verified { mut head, key: _, event, body, secret_index } = verified;
    let claim = DeliveryClaim {
        key: held.key.clone(),
        owner: held.request.owner,
        attempt: held.attempt,
        lease: held.request.lease,
        retention: shared.config.retention,
    };
    let delivery = Delivery::new(shared, claim, outer, event, body.clone(), secret_index);
    head.extensions.insert(delivery.clone());
    (delivery, Box::new(Request::from_parts(*head, WebhookBody::verified(body))))
}

/// Returns how the claim ends, and the response.
fn settlement<ResBody, E>(
    shared: &Shared,
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
            let early = EarlyResponse::rejected(kind, shared.config.retry_after);
            (Settlement::Release, Ok(respond_early(early)))
        }
    }
}

/// Returns true if the path matches and this layer has not handled the request already, when it is mounted twice.
fn is_delivery<B>(shared: &Arc<Shared>, request: &Request<B>) -> bool {
    let path_matches = shared.config.path.as_deref().is_none_or(|path| path == request.uri().path());
    let delivery = request.extensions().get::<Delivery>();
    path_matches && !delivery.is_some_and(|delivery| delivery.belongs_to(shared))
}

fn respond_early<B>(early: EarlyResponse) -> Response<ResponseBody<B>> {
    match &early {
        EarlyResponse::Rejected { rejection, .. } => telemetry::rejected(rejection),
        EarlyResponse::Skipped(skipped) => telemetry::skipped(*skipped),
    }
    early.into_response()
}

impl<S: fmt::Debug> fmt::Debug for Webhook<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("service", &self.service).finish_non_exhaustive()
    }
}
