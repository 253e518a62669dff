//! Every place where the documentation mounts the layer. The test is that this compiles. Most mounts also
//! receive requests.

#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, and mounts that are only compiled")]

mod nginx;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::handler::Handler as _;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_util::service::TowerToHyperService;
use roomz_axum::{WebhookDelivery, WebhookEvent};
use roomz_tests::secret;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{WebhookBody, WebhookLayer};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::TraceLayer;

fn layer() -> WebhookLayer {
    WebhookLayer::builder(secret()).build().unwrap()
}

fn layer_with_path() -> WebhookLayer {
    WebhookLayer::builder(secret()).with_path("/hook").build().unwrap()
}

async fn handler(_: WebhookEvent, _: WebhookDelivery, _: Bytes) {}

async fn assert_verifies(app: Router) {
    let signed: Request<axum::body::Body> = TestEvent::busy().request("/hook", &secret());
    assert_eq!(app.clone().oneshot(signed).await.unwrap().status(), StatusCode::OK);
    let unsigned = Request::post("/hook").body(axum::body::Body::empty()).unwrap();
    assert_eq!(app.oneshot(unsigned).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn axum_router() {
    assert_verifies(Router::new().route("/hook", post(handler)).layer(layer())).await;
    assert_verifies(Router::new().route("/hook", post(handler)).route_layer(layer())).await;
    assert_verifies(Router::new().route("/hook", post(handler)).layer(layer_with_path())).await;
    let nested = Router::new().route("/", post(handler).layer(layer()));
    assert_verifies(Router::new().nest("/hook", nested)).await;
}

#[tokio::test]
async fn axum_method_router() {
    assert_verifies(Router::new().route("/hook", post(handler).layer(layer()))).await;
    assert_verifies(Router::new().route("/hook", post(handler).route_layer(layer()))).await;
    assert_verifies(Router::new().route_service("/hook", post(handler).layer(layer()))).await;
}

#[tokio::test]
async fn axum_handler() {
    assert_verifies(Router::new().route("/hook", post(handler.layer(layer())))).await;
}

#[tokio::test]
async fn axum_with_state() {
    async fn stateful(_: axum::extract::State<u8>, _: WebhookEvent) {}
    assert_verifies(Router::new().route("/hook", post(stateful).layer(layer())).with_state(7)).await;
}

#[tokio::test]
async fn inside_and_outside_tower_http_layers() {
    let outside = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(25)))
        .layer(RequestBodyLimitLayer::new(1024 * 1024))
        .layer(layer());
    assert_verifies(Router::new().route("/hook", post(handler).layer(outside))).await;
    let inside = ServiceBuilder::new()
        .layer(layer())
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(25)))
        .layer(RequestBodyLimitLayer::new(1024 * 1024));
    assert_verifies(Router::new().route("/hook", post(handler).layer(inside))).await;
    assert_verifies(
        Router::new().route("/hook", post(handler)).layer(TraceLayer::new_for_http()).layer(layer()),
    )
    .await;
}

#[tokio::test]
async fn plain_hyper() {
    let service = ServiceBuilder::new().layer(layer()).service(service_fn(plain));
    let service = TowerToHyperService::new(service);
    // Only hyper can create an `Incoming`, so only the types are tested.
    fn accepts_incoming<S: hyper::service::Service<Request<hyper::body::Incoming>>>(_: S) {}
    accepts_incoming(service);
}

async fn plain(_: Request<WebhookBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::default()))
}

#[tokio::test]
async fn tonic_into_axum_router() {
    let (_, health) = tonic_health::server::health_reporter();
    let grpc = tonic::service::Routes::new(health).into_axum_router();
    assert_verifies(grpc.route("/hook", post(handler)).layer(layer_with_path())).await;
}

/// Around a whole tonic server, a mistyped path passes the layer. The server must answer it with 404.
#[tokio::test]
async fn tonic_with_path_and_404_fallback() {
    let (_, health) = tonic_health::server::health_reporter();
    let grpc = tonic::service::Routes::new(health).into_axum_router();
    let app =
        grpc.route("/hook", post(handler)).fallback(async || StatusCode::NOT_FOUND).layer(layer_with_path());
    let request: Request<axum::body::Body> = TestEvent::busy().request("/hooks", &secret());
    assert_eq!(app.clone().oneshot(request).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_verifies(app).await;
}

/// A limit outside the layer ends a body without length in the middle: 413, as with the layer's own limit.
#[tokio::test]
async fn tower_http_body_limit_is_413() {
    let outside = ServiceBuilder::new().layer(RequestBodyLimitLayer::new(100)).layer(layer());
    let app = Router::new().route("/hook", post(handler).layer(outside));
    let (head, body) = TestEvent::busy().request::<axum::body::Body>("/hook", &secret()).into_parts();
    let stream = axum::body::Body::from_stream(body.into_data_stream());
    let response = app.oneshot(Request::from_parts(head, stream)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let rejection = response.extensions().get::<roomz_webhook::Rejection>().unwrap();
    assert_eq!(rejection.kind().as_str(), "body-too-large");
}

/// A timeout of the body outside the layer: 408, as with the layer's own.
#[tokio::test(start_paused = true)]
async fn tower_http_body_timeout_is_408() {
    let outside =
        ServiceBuilder::new().layer(RequestBodyTimeoutLayer::new(Duration::from_secs(1))).layer(layer());
    let app = Router::new().route("/hook", post(handler).layer(outside));
    let (head, _) = TestEvent::busy().request::<axum::body::Body>("/hook", &secret()).into_parts();
    let silent = axum::body::Body::from_stream(tokio_stream::pending::<Result<Bytes, Infallible>>());
    let response = app.oneshot(Request::from_parts(head, silent)).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    let rejection = response.extensions().get::<roomz_webhook::Rejection>().unwrap();
    assert_eq!(rejection.kind().as_str(), "body-timeout");
}

/// Only compiled: the Lambda runtime needs its own server.
async fn lambda_run() -> Result<(), lambda_http::Error> {
    lambda_http::run(ServiceBuilder::new().layer(layer()).service(service_fn(plain))).await?;
    lambda_http::run(Router::new().route("/hook", post(handler).layer(layer()))).await
}

#[tokio::test]
async fn lambda() {
    let service = ServiceBuilder::new().layer(layer()).service(service_fn(plain));
    let request = TestEvent::busy().request::<lambda_http::Body>("/hook", &secret());
    assert_eq!(service.oneshot(request).await.unwrap().status(), StatusCode::OK);
}

async fn listener() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The layer around the whole server passes gRPC streams unchanged.
#[tokio::test]
async fn passes_grpc_stream_through_layer() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    let (reporter, health) = tonic_health::server::health_reporter();
    let (listener, address) = listener().await;
    let grpc = tonic::service::Routes::new(health).into_axum_router();
    let app = grpc.route("/hook", post(handler)).layer(layer_with_path());
    tokio::spawn(async { axum::serve(listener, app).await });
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let request = HealthCheckRequest { service: String::new() };
    let mut changes = client.watch(request).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status, 1, "serving");
    reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    assert_eq!(changes.message().await.unwrap().unwrap().status, 2, "the stream stays open");

    // The webhook has the same port.
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (signed_with, expected) in [("the webhook secret", 200), ("a guess", 401)] {
        let secret = roomz_webhook::Secret::new(signed_with).unwrap();
        let mut request: Request<Full<Bytes>> = TestEvent::busy().request("/hook", &secret);
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), expected);
        sender.ready().await.unwrap();
    }
}
