//! What handlers get, and what happens without the layer.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use http::StatusCode;
use http_body_util::BodyExt as _;
use roomz_axum::Skipped;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookDelivery, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
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
    let layer = WebhookLayer::builder(secret()).build().unwrap();
    Router::new().route("/", post(handler).layer(layer))
}

#[tokio::test]
async fn gives_the_whole_event_one_type_and_the_delivery_with_the_same_bytes() {
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

#[tokio::test]
async fn an_event_of_another_type_is_acknowledged_and_not_run() {
    let app = app(async |_: WebhookEvent<WorkspacePresenceChanged>| -> StatusCode { unreachable!() });
    for event in [TestEvent::busy().with_type("workspace.booked"), TestEvent::busy().with("data", ())] {
        let (status, skipped, text) = deliver(&app, &event).await;
        assert_eq!((status, skipped), (StatusCode::OK, Some(Skipped::Ignored)));
        assert_eq!(text, r#"{"skipped":"ignored"}"#);
        let (status, skipped, _) = deliver(&app, &event).await;
        assert_eq!((status, skipped), (StatusCode::OK, Some(Skipped::Duplicate)), "it was completed");
    }
}

#[tokio::test]
async fn every_event_reaches_a_handler_of_all_types() {
    let app = app(async |WebhookEvent(event): WebhookEvent| event.event_type.to_string());
    let (status, skipped, text) = deliver(&app, &TestEvent::busy().with_type("workspace.booked")).await;
    assert_eq!((status, skipped, text.as_str()), (StatusCode::OK, None, "workspace.booked"));
}

#[tokio::test]
async fn without_the_layer_the_answer_is_500_and_names_it() {
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
async fn on_another_path_than_the_layers_the_answer_is_500_too() {
    let layer = WebhookLayer::builder(secret()).with_path("/webhooks/roomz").build().unwrap();
    let app = Router::new().route("/", post(async |_: WebhookEvent| ())).layer(layer);
    let (status, _, text) = deliver(&app, &TestEvent::busy()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("with_path"), "{text}");
}
