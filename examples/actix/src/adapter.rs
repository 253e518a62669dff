//! Passes requests of actix-web to a tower service, and its responses back. Copy this file as it is.
//!
//! actix-web has its own types for requests and middleware, so a tower layer does not fit into it.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use http::header::CONNECTION;
use http_body_util::{BodyExt, Full};
use roomz_webhook::{Rejection, RejectionKind, ResponseBody, WebhookBody, WebhookLayer};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, Service, ServiceExt as _};

/// Limits that are part of the layer where it reads the body itself. Here actix-web reads it.
const BODY_LIMIT: usize = 256 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type Request = http::Request<Full<Bytes>>;
type Response = http::Response<ResponseBody<Full<Bytes>>>;

/// A handler in the webhook layer, and the runtime on which it runs.
#[derive(Clone, Debug)]
pub struct Adapter {
    service: BoxCloneSyncService<Request, Response, Infallible>,
    handlers: Handle,
}

impl Adapter {
    /// Wraps `handler` in the layer.
    pub fn new<S>(webhook: &WebhookLayer, handler: S, handlers: Handle) -> Self
    where
        S: Service<http::Request<WebhookBody>, Response = http::Response<Full<Bytes>>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
    {
        Self { service: BoxCloneSyncService::new(webhook.layer(handler)), handlers }
    }
}

/// Receives a delivery.
pub async fn receive(
    adapter: web::Data<Adapter>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let wants_upgrade = request.head().upgrade();
    let mut response = handle(adapter, request, payload).await;
    if wants_upgrade {
        // Java's HttpClient asks for HTTP/2 with each request. actix-web would answer `connection: upgrade`,
        // and close the connection without saying so.
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
}

async fn handle(adapter: web::Data<Adapter>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let body = match timeout(BODY_TIMEOUT, payload.to_bytes_limited(BODY_LIMIT)).await {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(_))) => return reject(RejectionKind::BodyBroken).await,
        Ok(Err(_)) => return reject(RejectionKind::BodyTooLarge).await,
        Err(_) => return reject(RejectionKind::BodyTimeout).await,
    };
    let Some(request) = to_http(&request, body) else { return HttpResponse::BadRequest().finish() };
    // On a runtime of its own, a handler finishes also when its client disconnects or a thread of actix-web
    // ends. The set aborts its task when the client disconnects: a duplicate then stops waiting, and a
    // handler goes on.
    let mut task = JoinSet::new();
    task.spawn_on(adapter.service.clone().oneshot(request), &adapter.handlers);
    match task.join_next().await {
        Some(Ok(Ok(response))) => from_http(response).await,
        Some(Ok(Err(never))) => match never {},
        None | Some(Err(_)) => HttpResponse::InternalServerError().finish(),
    }
}

async fn reject(kind: RejectionKind) -> HttpResponse {
    from_http(Rejection::new(kind).into_response::<Full<Bytes>>()).await
}

/// actix-web uses version 0.2 of `http`, so the names and values are copied.
fn to_http(request: &HttpRequest, body: Bytes) -> Option<Request> {
    let mut builder =
        http::Request::builder().method(request.method().as_str()).uri(request.uri().to_string());
    for (name, value) in request.headers() {
        builder = builder.header(name.as_str(), value.as_bytes());
    }
    builder.body(Full::new(body)).ok()
}

async fn from_http<B>(response: http::Response<B>) -> HttpResponse
where
    B: BodyExt<Error = Infallible>,
{
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap_or_else(|never| match never {}).to_bytes();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    // actix-web sets the connection header itself.
    if head.headers.get(CONNECTION).is_some_and(|value| value == "close") {
        builder.force_close();
    }
    for (name, value) in &head.headers {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    builder.body(body)
}
