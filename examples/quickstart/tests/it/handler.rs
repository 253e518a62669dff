//! Tests of the handler behind the layer, without a socket. Copy and adapt them.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use roomz_axum::store::MokaStore;
use roomz_axum::testing::{ManualClock, TestEvent, signed_request};
use roomz_axum::{Rejection, RejectionKind, Secret, Skipped, StalePolicy, WebhookLayer, WebhookLayerBuilder};
use tower::ServiceExt as _;

const PATH: &str = "/webhooks/roomz";

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// The application with settings of the layer, and an empty store.
fn app(configure: impl FnOnce(WebhookLayerBuilder) -> WebhookLayerBuilder) -> Router {
    quickstart::app(configure(WebhookLayer::builder(secret())).build().unwrap())
}

/// Sends a delivery that is signed as ROOMZ signs it.
async fn deliver(app: &Router, event: &TestEvent) -> Response<Body> {
    app.clone().oneshot(event.request::<Body>(PATH, &secret())).await.unwrap()
}

/// The status, and why the handler did not run.
fn outcome(response: &Response<Body>) -> (StatusCode, Option<Skipped>) {
    (response.status(), response.extensions().get().copied())
}

#[tokio::test]
async fn duplicate_does_not_run_handler() {
    let (app, event) = (app(|layer| layer), TestEvent::busy());
    assert_eq!(outcome(&deliver(&app, &event).await), (StatusCode::OK, None));
    assert_eq!(outcome(&deliver(&app, &event).await), (StatusCode::OK, Some(Skipped::Duplicate)));
}

#[tokio::test]
async fn rejects_forged_event() {
    let forged = TestEvent::busy().request::<Body>(PATH, &Secret::new("a guess").unwrap());
    let response = app(|layer| layer).oneshot(forged).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::SignatureMismatch);
}

/// Needs `with_max_age`. The test moves the clock instead of waiting for an hour.
#[tokio::test]
async fn rejects_event_older_than_max_age() {
    let clock = ManualClock::new();
    let hour = Duration::from_secs(60 * 60);
    let app = app(|layer| layer.with_max_age(hour, StalePolicy::Reject).with_clock(clock.clone()));
    let event = TestEvent::busy();
    clock.advance(hour + Duration::from_secs(1));
    assert_eq!(deliver(&app, &event).await.status(), StatusCode::BAD_REQUEST);
}

/// This is one reason why a handler must tolerate a repeated event. The test moves the clock of the store.
#[tokio::test]
async fn event_runs_again_after_retention() {
    let clock = ManualClock::new();
    let app = app(|layer| layer.with_store(MokaStore::builder().with_clock(clock.clone()).build()));
    let event = TestEvent::busy();
    assert_eq!(outcome(&deliver(&app, &event).await), (StatusCode::OK, None));
    clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    assert_eq!(outcome(&deliver(&app, &event).await), (StatusCode::OK, None));
}

/// ROOMZ may add event types. They are acknowledged, because any other status is a failed delivery.
#[tokio::test]
async fn acknowledges_other_event_type() {
    let response = deliver(&app(|layer| layer), &TestEvent::busy().with_type("workspace.moved")).await;
    assert_eq!(outcome(&response), (StatusCode::OK, Some(Skipped::Ignored)));
}

/// Replace `recorded.json` with a body that you recorded. The test signs it with its own secret.
#[tokio::test]
async fn handles_recorded_body() {
    let body = include_bytes!("recorded.json").to_vec();
    let response = app(|layer| layer).oneshot(signed_request::<Body>(PATH, body, &secret())).await.unwrap();
    assert_eq!(outcome(&response), (StatusCode::OK, None));
}
