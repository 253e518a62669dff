use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use roomz_protocol::Event;
use tower_service::Service;
use tracing::Instrument as _;

use crate::body::{BoxError, WebhookBody};
use crate::claim::{self, HandlerPanicked, Settlement};
use crate::delivery::Delivery;
use crate::future::{ResponseFuture, RunToCompletion};
use crate::response::{EarlyResponse, Rejection, RejectionKind, ResponseBody};
use crate::state::Shared;
use crate::telemetry;
use crate::verify::{body, freshness, head};

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
    let (mut parts, body) = request.into_parts();

    // Checks 1 to 8. Nothing unsigned reaches the store.
    let verified = async {
        let signature = head::check(&parts, config)?;
        let (body, secret_index) = body::read_and_verify(body, &signature, config).await?;
        telemetry::verified(secret_index);
        let event = Event::parse(&body).map_err(Rejection::event_malformed)?;
        freshness::check(&event, config)?;
        Ok((body, secret_index, event))
    };
    let (body, secret_index, event) = match verified.await {
        Ok(verified) => verified,
        Err(early) => return Ok(respond_early(early)),
    };

    // From the claim on, the work is finished even if the client disconnects.
    let span = telemetry::delivery_span(&event);
    let token = shared.tasks.token();
    let work = async move {
        let _token = token;

        // Check 9: the claim.
        let held = match claim::acquire(&shared, event.id, &body).await {
            Ok(held) => held,
            Err(early) => return Ok(respond_early(early)),
        };
        telemetry::accepted(&event, held.attempt);

        // Check 10: the inner service gets the same bytes, and a `Delivery` in the extensions.
        parts.extensions.insert(Delivery::new(&shared, event, body.clone(), held.attempt, secret_index));
        let request = Request::from_parts(parts, WebhookBody::verified(body));
        let outcome = claim::run(&shared, &held, service, request).await;

        // A 2xx completes the event. Anything else releases it, so that a redelivery runs the handler again.
        let (settlement, response) = match outcome {
            Ok(Ok(response)) if response.status().is_success() => {
                telemetry::completed(&response);
                (Settlement::Complete, Ok(response.map(ResponseBody::from_service)))
            }
            Ok(Ok(response)) => {
                telemetry::released("handler answered with an error status", Some(response.status()));
                (Settlement::Release, Ok(response.map(ResponseBody::from_service)))
            }
            Ok(Err(error)) => {
                telemetry::released("handler failed", None);
                (Settlement::Release, Err(error))
            }
            Err(HandlerPanicked) => {
                telemetry::released("handler panicked", None);
                (Settlement::Release, Ok(respond_early(RejectionKind::HandlerPanicked.into())))
            }
        };
        claim::settle(&shared, held, settlement).await;
        response
    };
    RunToCompletion::new(work.instrument(span)).await
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
