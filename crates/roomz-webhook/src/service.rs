use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use roomz_protocol::Event;
use scopeguard::ScopeGuard;
use tower_service::Service;
use tracing::Instrument as _;

use crate::body::{BoxError, WebhookBody};
use crate::claim;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::finish::{self, FinishOnDrop};
use crate::response::{EarlyResponse, Rejection, RejectionKind, ResponseBody};
use crate::state::Shared;
use crate::store::OwnerUpdate;
use crate::telemetry;
use crate::verify::{body, freshness, head, secrets};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The service that [`WebhookLayer`](crate::WebhookLayer) creates.
///
/// Dropping its future before the delivery is verified ends the request. From the claim on, the delivery
/// goes on in a task after a drop, for example because the client disconnected: a running handler finishes
/// and its claim is settled.
#[derive(Clone, derive_more::Debug)]
#[debug("Webhook {{ inner: {inner:?}, .. }}")]
#[must_use = "a service does nothing until it is called"]
pub struct Webhook<S> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) inner: S,
}

impl<S> Webhook<S> {
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
    type Future = FinishOnDrop<Result<Self::Response, S::Error>>;

    /// Always ready: a rejection needs no inner service, so `call` polls the inner service for readiness.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let inner = self.inner.clone();
        if is_delivery(&shared, &request) {
            return FinishOnDrop::new(receive(shared, inner, request));
        }
        let response = claim::call_when_ready(inner, request.map(WebhookBody::streaming));
        FinishOnDrop::new(async move { Ok(response.await?.map(ResponseBody::from_service)) })
    }
}

/// The whole path of a delivery.
///
/// It is not an `async fn`, whose future would have room for each argument twice.
fn receive<S, ReqBody, ResBody>(
    shared: Arc<Shared>,
    inner: S,
    request: Request<ReqBody>,
) -> impl Future<Output = Result<Response<ResponseBody<ResBody>>, S::Error>> + Send
where
    S: Service<Request<WebhookBody>, Response = Response<ResBody>, Future: Send, Error: Send>,
    S: Send + 'static,
    ReqBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    ResBody: Send + 'static,
{
    let (head, body) = request.into_parts();
    // The head is boxed, because each of the nested futures would have room for it, and the body, because a
    // task reads the rest of a rejected one.
    let (head, mut body) = (Box::new(head), Box::pin(body));
    async move {
        // HTTP/2 has no connection header.
        let may_close = head.version < Version::HTTP_2;

        // Checks 1 to 8: nothing unsigned reaches the store.
        let delivery = match verify(&shared, &head, body.as_mut()).await {
            Ok(delivery) => delivery,
            Err(early) => return Ok(reject(&shared, early, body, may_close)),
        };
        drop(body);

        // From here on, the delivery goes on after a drop of this future, and `drain` waits for it.
        finish::must_finish();
        let running = shared.tasks.token();
        let tenant = shared.config.secrets.has_tenants().then(|| delivery.namespace());
        let span = telemetry::delivery_span(delivery.event(), tenant);
        let handle = async {
            // Check 9: the claim.
            let claimed_at = match claim::acquire(&shared, delivery.held()).await {
                Ok(claimed_at) => claimed_at,
                Err(early) => return Ok(respond_to(&delivery, early)),
            };
            let unsettled = telemetry::handler_cancelled_until_settled();

            // Check 10: the inner service gets the same bytes, and the delivery in the extensions.
            let outcome = claim::run(&shared, &delivery, claimed_at, inner, head).await;

            // A 2xx completes the event. Anything else releases it, so that a redelivery runs the handler
            // again.
            let (settlement, response) = settlement(outcome, &delivery);
            claim::settle(&shared, delivery.held(), settlement).await;
            ScopeGuard::into_inner(unsettled);
            response
        };
        let mut response = handle.instrument(span).await?;
        drop(running);
        if may_close && shared.readiness.is_shutting_down() {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        Ok(response)
    }
}

/// Checks 1 to 8.
async fn verify(
    shared: &Shared,
    head: &Parts,
    body: Pin<&mut impl Body<Data = Bytes, Error: Into<BoxError>>>,
) -> Result<Delivery, EarlyResponse> {
    let config = &shared.config;
    let signature = head::check(head, config)?;
    let (namespace, secrets) = secrets::find(head, config).await?;
    let (body, secret_position) = body::read_and_verify(body, &signature, &secrets, config).await?;
    telemetry::verified(secret_position, config.secrets.has_tenants().then_some(&*namespace));
    let event = Event::parse(&body)
        .map_err(|error| Rejection::with_detail(RejectionKind::EventMalformed, error.to_string()))?;
    freshness::check(&event, config)?;
    Ok(Delivery::new(shared, namespace, event, body, secret_position))
}

/// Answers a delivery that failed one of the checks 1 to 8.
fn reject<ReqBody, ResBody>(
    shared: &Shared,
    early: EarlyResponse,
    body: Pin<Box<ReqBody>>,
    may_close: bool,
) -> Response<ResponseBody<ResBody>>
where
    ReqBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    if let EarlyResponse::Rejected(rejection) = &early
        && rejection.kind().is_unauthenticated()
        && let Some(count) = shared.rejections.count(shared.config.clock.monotonic())
    {
        telemetry::unsigned_requests_rejected(count, rejection.kind().as_str());
    }
    let is_unread = may_close && early.is_before_end_of_body() && !body.is_end_stream();
    let mut response = respond_early(early);
    if is_unread || may_close && shared.readiness.is_shutting_down() {
        // The server closes the connection: a proxy must not send the next delivery on it.
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    // After a timeout or a broken connection, nothing more is expected.
    if is_unread && !matches!(response.status(), StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_REQUEST) {
        let Config { body_timeout, body_limit, .. } = shared.config;
        drop(tokio::spawn(body::discard(body, body_timeout, body_limit)));
    }
    response
}

/// Returns how the claim ends, and the response.
fn settlement<ResBody, E>(
    outcome: Result<Result<Response<ResBody>, E>, RejectionKind>,
    delivery: &Delivery,
) -> (OwnerUpdate, Result<Response<ResponseBody<ResBody>>, E>) {
    match outcome {
        Ok(Ok(response)) if response.status().is_success() => {
            telemetry::completed(&response);
            (delivery.held().completion(), Ok(response.map(ResponseBody::from_service)))
        }
        Ok(Ok(response)) => {
            telemetry::released("handler returned a status other than 2xx", Some(response.status()));
            (OwnerUpdate::Release, Ok(response.map(ResponseBody::from_service)))
        }
        Ok(Err(error)) => {
            telemetry::released("handler failed", None);
            (OwnerUpdate::Release, Err(error))
        }
        Err(kind) => {
            if kind == RejectionKind::HandlerPanicked {
                telemetry::released("handler panicked", None);
            }
            (OwnerUpdate::Release, Ok(respond_to(delivery, kind)))
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
    path_matches && delivery.is_none_or(|delivery| delivery.layer_id() != shared.id)
}

/// Answers a delivery in place of the handler. The answer names the event, for logs in front of the layer.
fn respond_to<B>(delivery: &Delivery, early: impl Into<EarlyResponse>) -> Response<ResponseBody<B>> {
    let mut response = respond_early(early);
    response.extensions_mut().insert(delivery.event().id);
    response
}

fn respond_early<B>(early: impl Into<EarlyResponse>) -> Response<ResponseBody<B>> {
    let early = early.into();
    match &early {
        EarlyResponse::Rejected(rejection) => telemetry::rejected(rejection),
        EarlyResponse::Skipped(skipped) => telemetry::skipped(*skipped),
    }
    early.into_response()
}
