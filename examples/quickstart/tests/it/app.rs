//! The router without a socket, and the header timeout of the server.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use tower::{ServiceBuilder, ServiceExt as _};

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

#[tokio::test]
async fn accepts_only_signed_events() {
    let app = quickstart::app(WebhookLayer::new(secret()));

    let signed = TestEvent::busy().request::<Body>("/webhooks/roomz", &secret());
    assert_eq!(app.clone().oneshot(signed).await.unwrap().status(), StatusCode::OK);

    let other_secret = Secret::new("a guess").unwrap();
    let forged = TestEvent::free().request::<Body>("/webhooks/roomz", &other_secret);
    assert_eq!(app.oneshot(forged).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

/// Runs on paused time: when client and server both wait, the clock moves to the next timeout.
#[tokio::test(start_paused = true)]
async fn closes_connection_with_slow_head() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let app = quickstart::app(WebhookLayer::new(secret()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(quickstart::serve::serve(listener, app, std::future::pending()));
    for sent in ["", "POST /webhooks/roomz HTTP/1.1\r\nhost: loc"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let start = tokio::time::Instant::now();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 408"), "{response}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

/// The router answers without reading the body, so the connection ends. A proxy must know that.
#[tokio::test]
async fn unknown_route_closes_connection_announced() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let app = quickstart::app(WebhookLayer::new(secret()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(quickstart::serve::serve(listener, app, std::future::pending()));
    for (path, status) in [("/wp-login.php", "404"), ("/healthz", "405")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{response}");
        assert!(response.contains("connection: close"), "{response}");
    }
}

/// Middleware outside the webhook layer also sees rejected requests, middleware inside sees only events to
/// handle.
#[tokio::test]
async fn middleware_mounts_around_webhook() {
    async fn mark(request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        response.headers_mut().insert("x-middleware", HeaderValue::from_static("seen"));
        response
    }
    async fn handler() {}

    let webhook = || WebhookLayer::new(secret());
    let outside = ServiceBuilder::new().layer(from_fn(mark)).layer(webhook());
    for (app, marks_rejections) in [
        (Router::new().route("/", post(handler).layer(outside)), true),
        (Router::new().route("/", post(handler).layer(webhook())).layer(from_fn(mark)), true),
        (Router::new().route("/", post(handler).route_layer(from_fn(mark)).layer(webhook())), false),
    ] {
        let signed = TestEvent::busy().request::<Body>("/", &secret());
        let accepted = app.clone().oneshot(signed).await.unwrap();
        assert_eq!(accepted.status(), StatusCode::OK);
        assert!(accepted.headers().contains_key("x-middleware"));

        let unsigned = Request::post("/").body(Body::empty()).unwrap();
        let rejected = app.oneshot(unsigned).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(rejected.headers().contains_key("x-middleware"), marks_rejections);
    }
}
