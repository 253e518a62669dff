//! The router, without a socket.

use axum::body::Body;
use axum::http::StatusCode;
use roomz_axum::roomz_webhook::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_signed_event_is_handled_and_a_forged_one_is_not() {
    let secret = Secret::new("the webhook secret").unwrap();
    let app = quickstart::app(WebhookLayer::builder(secret.clone()).build().unwrap());

    let signed = TestEvent::busy().request::<Body>("/webhooks/roomz", &secret);
    assert_eq!(app.clone().oneshot(signed).await.unwrap().status(), StatusCode::OK);

    let forger = Secret::new("a guess").unwrap();
    let forged = TestEvent::free().request::<Body>("/webhooks/roomz", &forger);
    assert_eq!(app.oneshot(forged).await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
