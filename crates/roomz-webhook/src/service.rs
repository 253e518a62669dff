use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{BoxError, Service, ServiceExt as _};
use tracing::Instrument as _;

use crate::accept::{Accepted, accept};
use crate::answer::Answer;
use crate::body::WebhookBody;
use crate::claim;
use crate::delivery::Delivery;
use crate::detach::RunToEnd;
use crate::hand_over::{self, Panicked};
use crate::layer::Receiver;
use crate::measure;
use crate::refusal::{Rejection, RejectionKind};
use crate::response::ResponseBody;
use crate::settle::{self, Settlement};

/// The service that [`WebhookLayer`](crate::WebhookLayer) makes.
#[derive(Clone)]
pub struct Webhook<S> {
    receiver: Arc<Receiver>,
    service: S,
}

impl<S> Webhook<S> {
    pub(crate) const fn new(receiver: Arc<Receiver>, service: S) -> Self {
        Self { receiver, service }
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

    /// Always ready: what is refused needs no service, so the service is asked when its turn comes.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let receiver = Arc::clone(&self.receiver);
        let service = self.service.clone();
        ResponseFuture(Box::pin(receive(receiver, service, request)))
    }
}

/// A request's whole way.
async fn receive<S, ReqBody, ResBody>(
    receiver: Arc<Receiver>,
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
    if !is_webhook(&receiver, &request) {
        let response = service.oneshot(request.map(WebhookBody::elsewhere)).await?;
        return Ok(response.map(ResponseBody::of_service));
    }

    let (mut head, body) = request.into_parts();
    let Accepted { event, body, secret } = match accept(&head, body, &receiver.settings).await {
        Ok(accepted) => accepted,
        Err(answer) => return Ok(said(answer)),
    };

    // From the claim on the work is done to its end, whether the client waits for it or not.
    let span = tracing::info_span!("roomz_webhook", event.id = %event.id, event.r#type = %event.event_type);
    let task = receiver.tasks.token();
    let work = async move {
        let _task = task;
        let held = match claim::claim(&receiver, event.id, &body).await {
            Ok(held) => held,
            Err(answer) => return Ok(said(answer)),
        };
        measure::accepted(&event, held.attempt);
        head.extensions.insert(Delivery::new(&receiver, event, body.clone(), held.attempt, secret));
        let request = Request::from_parts(head, WebhookBody::verified(body));

        let outcome = hand_over::run(&receiver, &held, service, request).await;

        let (settlement, response) = match outcome {
            Ok(Ok(response)) if response.status().is_success() => {
                measure::handled(&response);
                (Settlement::Complete, Ok(response.map(ResponseBody::of_service)))
            }
            Ok(Ok(response)) => {
                measure::released(&format_args!("answered {}", response.status()));
                (Settlement::Release, Ok(response.map(ResponseBody::of_service)))
            }
            Ok(Err(error)) => {
                measure::released(&"failed");
                (Settlement::Release, Err(error))
            }
            Err(Panicked) => {
                measure::released(&"panicked");
                (Settlement::Release, Ok(said(Rejection::new(RejectionKind::HandlerPanicked).into())))
            }
        };
        settle::settle(&receiver, held, settlement).await;
        response
    };
    RunToEnd::new(work.instrument(span)).await
}

/// Whether the request is to be looked at: it has the path, and this layer, mounted twice, has not seen it before.
fn is_webhook<B>(receiver: &Arc<Receiver>, request: &Request<B>) -> bool {
    let has_path = receiver.settings.path.as_deref().is_none_or(|path| path == request.uri().path());
    let delivery = request.extensions().get::<Delivery>();
    has_path && !delivery.is_some_and(|delivery| delivery.is_of(receiver))
}

fn said<B>(answer: Answer) -> Response<ResponseBody<B>> {
    match &answer {
        Answer::Refused { refusal, .. } => measure::rejected(refusal),
        Answer::Skipped(skipped) => measure::skipped(*skipped),
    }
    answer.into_response()
}

/// The future of [`Webhook`].
///
/// Dropping it before the delivery is verified ends the request. Dropping it afterwards leaves the rest, the waiting of
/// a duplicate included, running in the background: a verified event is not given up because its sender was.
#[must_use = "futures do nothing unless polled"]
#[allow(clippy::type_complexity)]
pub struct ResponseFuture<B, E>(Pin<Box<dyn Future<Output = Result<Response<ResponseBody<B>>, E>> + Send>>);

impl<B, E> Future for ResponseFuture<B, E> {
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<B, E> fmt::Debug for ResponseFuture<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Webhook<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("service", &self.service).finish_non_exhaustive()
    }
}
