//! The router without a socket.

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
