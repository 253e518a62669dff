//! What the extractors return, with and without the layer.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use http::StatusCode;
use http_body_util::BodyExt as _;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, Skipped, WebhookDelivery, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use tower::ServiceExt as _;

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

async fn deliver(app: &Router, event: &TestEvent) -> (StatusCode, Option<Skipped>, String) {
    let response = app.clone().oneshot(event.request::<Body>("/", &secret())).await.unwrap();
    let skipped = response.extensions().get().copied();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, skipped, String::from_utf8(body.to_vec()).unwrap())
}

fn app<H: axum::handler::Handler<T, ()>, T: 'static>(handler: H) -> Router {
    Router::new().route("/", post(handler).layer(WebhookLayer::new(secret())))
}

#[tokio::test]
async fn extracts_event_type_delivery_and_bytes() {
    let app = app(
        async |WebhookEvent(any): WebhookEvent,
               WebhookEvent(change): WebhookEvent<WorkspacePresenceChanged>,
               WebhookDelivery(delivery): WebhookDelivery,
               body: Bytes| {
            assert_eq!(any.id, change.id);
            assert_eq!(any.id, delivery.event().id);
            assert_eq!(delivery.body(), &body);
            assert_eq!((delivery.attempt(), delivery.secret_position()), (1, 0));
            format!("{} {}", change.data.presence_status, body.len())
        },
    );
    let event = TestEvent::busy().with("note", "kept");
    let (status, skipped, text) = deliver(&app, &event).await;
    assert_eq!((status, skipped), (StatusCode::OK, None));
    assert_eq!(text, format!("Busy {}", event.body().len()));
}

/// The event is completed, so a redelivery is a duplicate.
#[tokio::test]
async fn skips_event_of_other_type() {
    let app = app(async |_: WebhookEvent<WorkspacePresenceChanged>| -> StatusCode { unreachable!() });
    for event in [TestEvent::busy().with_type("workspace.booked"), TestEvent::busy().with("data", ())] {
        let (status, skipped, text) = deliver(&app, &event).await;
        assert_eq!((status, skipped), (StatusCode::OK, Some(Skipped::Ignored)));
        assert_eq!(text, r#"{"skipped":"ignored"}"#);
        let (status, skipped, _) = deliver(&app, &event).await;
        assert_eq!((status, skipped), (StatusCode::OK, Some(Skipped::Duplicate)));
    }
}

#[tokio::test]
async fn extracts_event_of_unknown_type() {
    let app = app(async |WebhookEvent(event): WebhookEvent| event.event_type.to_string());
    let (status, skipped, text) = deliver(&app, &TestEvent::busy().with_type("workspace.booked")).await;
    assert_eq!((status, skipped, text.as_str()), (StatusCode::OK, None, "workspace.booked"));
}

#[tokio::test]
async fn missing_layer_is_500() {
    for app in [
        Router::new().route("/", post(async |_: WebhookEvent| ())),
        Router::new().route("/", post(async |_: WebhookEvent<WorkspacePresenceChanged>| ())),
        Router::new().route("/", post(async |_: WebhookDelivery| ())),
    ] {
        let (status, _, text) = deliver(&app, &TestEvent::busy()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(text.contains("roomz_webhook::WebhookLayer") && text.contains("missing-layer"), "{text}");
    }
}

#[tokio::test]
async fn other_path_than_the_layers_is_500() {
    let layer = WebhookLayer::builder(secret()).with_path("/webhooks/roomz").build().unwrap();
    let app = Router::new().route("/", post(async |_: WebhookEvent| ())).layer(layer);
    let (status, _, text) = deliver(&app, &TestEvent::busy()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("with_path"), "{text}");
}
