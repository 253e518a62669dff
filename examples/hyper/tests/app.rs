//! The service without a socket.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Secret, Skipped, WebhookLayer};
use tower::ServiceExt as _;

#[tokio::test]
async fn handles_deliveries_only_on_its_path() {
    let secret = Secret::new("the webhook secret").unwrap();
    let webhook = WebhookLayer::builder(secret.clone()).with_path("/webhooks/roomz").build().unwrap();
    let app = hyper_example::app::<Full<Bytes>>(&webhook);

    let event = TestEvent::busy();
    let first = app.clone().oneshot(event.request("/webhooks/roomz", &secret)).await.unwrap();
    assert_eq!((first.status(), first.extensions().get::<Skipped>()), (StatusCode::OK, None));
    let second = app.clone().oneshot(event.request("/webhooks/roomz", &secret)).await.unwrap();
    assert_eq!(second.extensions().get(), Some(&Skipped::Duplicate));

    let other_path = Request::get("/").body(Full::default()).unwrap();
    assert_eq!(app.oneshot(other_path).await.unwrap().status(), StatusCode::NOT_FOUND);
}
