use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use roomz_protocol::Event;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_service::Service;
use tracing::Instrument as _;

use crate::body::{BoxError, WebhookBody};
use crate::claim::{self, Settlement};
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
        ResponseFuture::new(receive(shared, service, request))
    }
}

/// The whole path of a request: checks 1 to 8, the claim, the inner service, the settlement.
async fn receive<S, ReqBody, ResBody>(
    shared: Arc<Shared>,
    service: S,
    request: Request<ReqBody>,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    ReqBody: Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
    ResBody: Send + 'static,
{
    if !is_delivery(&shared, &request) {
        let response = claim::call_when_ready(service, request.map(WebhookBody::streaming)).await?;
        return Ok(response.map(ResponseBody::from_service));
    }
    let config = &shared.config;
    let (head, body) = request.into_parts();

    // Checks 1 to 8. Nothing unsigned reaches the store.
    let verified = async {
        let signature = head::check(&head, config)?;
        let Credentials { namespace, secrets, padding } = secrets::find(&head, config).await?;
        let (body, secret_index) = body::read_and_verify(body, &signature, &secrets, padding, config).await?;
        let Some(namespace) = namespace else {
            return Err(RejectionKind::SignatureMismatch.into());
        };
        telemetry::verified(secret_index, config.has_tenants().then_some(&*namespace));
        let event = Event::parse(&body).map_err(Rejection::event_malformed)?;
        freshness::check(&event, config)?;
        Ok(Verified { head, key: ClaimKey::new(namespace, event.id), event, body, secret_index })
    };
    let verified = match verified.await {
        Ok(verified) => verified,
        Err(early) => return Ok(respond_early(early)),
    };

    // From the claim on, the delivery has its own task: it is finished even if the client disconnects.
    let tenant = config.has_tenants().then(|| verified.key.namespace());
    let span = telemetry::delivery_span(&verified.event, tenant);
    let retry_after = config.retry_after;
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
    // Without a response, the runtime is shutting down.
    let shutting_down =
        |_| Ok(respond_early(EarlyResponse::rejected(RejectionKind::ShuttingDown, retry_after)));
    response_receiver.await.unwrap_or_else(shutting_down)
}

/// A delivery that passed checks 1 to 8.
struct Verified {
    head: Parts,
    key: ClaimKey,
    event: Event,
    body: Bytes,
    secret_index: usize,
}

/// Checks 9 and 10, and the settlement.
async fn handle<S, ResBody>(
    shared: &Arc<Shared>,
    service: S,
    verified: Verified,
    disconnected: impl Future<Output = ()>,
) -> Result<Response<ResponseBody<ResBody>>, S::Error>
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>>,
{
    let Verified { mut head, key, event, body, secret_index } = verified;

    // Check 9: the claim.
    let start = Instant::now();
    let outer = head.extensions.get::<Delivery>().cloned();
    let find_outer = |key: &ClaimKey| outer.as_ref()?.find_claim(key);
    let held = match claim::acquire(shared, key, &body, find_outer, start, disconnected).await {
        Ok(held) => held,
        Err(early) => return Ok(respond_early(early)),
    };
    let unsettled = telemetry::UnsettledGuard::new();

    // Check 10: the inner service gets the same bytes, and a `Delivery` in the extensions.
    let claim = DeliveryClaim {
        key: held.key.clone(),
        owner: held.request.owner,
        attempt: held.attempt,
        lease: held.request.lease,
    };
    let delivery = Delivery::new(shared, claim, outer, event, body.clone(), secret_index);
    head.extensions.insert(delivery.clone());
    let request = Request::from_parts(head, WebhookBody::verified(body));
    let wait_deadline = start + shared.config.duplicate_wait;
    let (_permit, outcome) =
        claim::run(shared, &held, delivery.event(), wait_deadline, service, request).await;

    // A 2xx completes the event. Anything else releases it, so that a redelivery runs the handler again.
    let (settlement, response) = match outcome {
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
    };
    claim::settle(shared, held, settlement).await;
    unsettled.settled();
    response
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
