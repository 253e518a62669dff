//! Tests of the handler behind the layer, without a socket. Copy and adapt them.

mod fixture;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fixture::{Fixture, PATH};
use roomz_axum::store::MokaStore;
use roomz_axum::testing::{ManualClock, TestEvent, signed_request};
use roomz_axum::{PresenceStatus, RejectionKind, Secret, Skipped, StalePolicy, Timestamp, WorkspaceId};

/// The workspace of these tests.
fn desk() -> WorkspaceId {
    "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5".parse().unwrap()
}

#[tokio::test]
async fn signed_event_changes_plan() {
    let app = Fixture::new();
    let response = app.deliver(&TestEvent::busy().with_workspace_id(desk())).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Busy));
}

#[tokio::test]
async fn duplicate_does_not_run_handler() {
    let app = Fixture::new();
    let event = TestEvent::busy();
    assert_eq!(app.deliver(&event).await.extensions().get::<Skipped>(), None);

    let second = app.deliver(&event).await;
    assert_eq!(second.status(), StatusCode::OK, "a duplicate is a successful delivery");
    assert_eq!(second.extensions().get(), Some(&Skipped::Duplicate));
    assert_eq!(app.plan.runs().len(), 1);
}

#[tokio::test]
async fn rejects_forged_event() {
    let app = Fixture::new();
    let other_secret = Secret::new("a guess").unwrap();
    let response = app.send(TestEvent::busy().request(PATH, &other_secret)).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let rejection = response.extensions().get::<roomz_axum::Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::SignatureMismatch);
    assert!(app.plan.runs().is_empty());
}

#[tokio::test]
async fn failed_event_is_retried_as_attempt_two() {
    let app = Fixture::new();
    let event = TestEvent::busy().with_workspace_id(desk());

    app.plan.fail_next();
    assert_eq!(app.deliver(&event).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(app.plan.status(desk()), None);

    let redelivery = app.deliver(&event).await;
    assert_eq!((redelivery.status(), redelivery.extensions().get::<Skipped>()), (StatusCode::OK, None));
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Busy));
    let attempts: Vec<_> = app.plan.runs().iter().map(|change| change.attempt).collect();
    assert_eq!(attempts, [1, 2]);
}

#[tokio::test]
async fn late_event_does_not_overwrite_newer() {
    let app = Fixture::new();
    let nine: Timestamp = "2024-05-21T09:00:00Z".parse().unwrap();
    let ten: Timestamp = "2024-05-21T10:00:00Z".parse().unwrap();
    app.deliver(&TestEvent::free().with_workspace_id(desk()).with_timestamp(ten)).await;

    let late = app.deliver(&TestEvent::busy().with_workspace_id(desk()).with_timestamp(nine)).await;
    assert_eq!(late.status(), StatusCode::OK);
    assert_eq!(app.plan.runs().len(), 2, "the late event is not a duplicate");
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Free));
}

/// Needs `with_max_age`. The test moves the clock instead of waiting for an hour.
#[tokio::test]
async fn rejects_event_older_than_max_age() {
    let clock = ManualClock::new();
    let hour = Duration::from_secs(60 * 60);
    let app = Fixture::with(|layer| layer.with_max_age(hour, StalePolicy::Reject).with_clock(clock.clone()));
    let event = TestEvent::busy();

    clock.advance(hour + Duration::from_secs(1));
    let response = app.deliver(&event).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(app.plan.runs().is_empty());
}

/// This is one reason why a handler must tolerate a repeated event. The test moves the clock of the store.
#[tokio::test]
async fn event_runs_again_after_retention() {
    let clock = ManualClock::new();
    let app = Fixture::with(|layer| layer.with_store(MokaStore::builder().with_clock(clock.clone()).build()));
    let event = TestEvent::busy();
    app.deliver(&event).await;

    clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    app.deliver(&event).await;
    assert_eq!(app.plan.runs().len(), 2);
}

/// ROOMZ may add event types. They are acknowledged, because any other status is a failed delivery.
#[tokio::test]
async fn acknowledges_other_event_type() {
    let app = Fixture::new();
    let response = app.deliver(&TestEvent::busy().with_type("workspace.moved")).await;
    assert_eq!((response.status(), response.extensions().get()), (StatusCode::OK, Some(&Skipped::Ignored)));
    assert!(app.plan.runs().is_empty());
}

/// Replace `recorded.json` with a body that you recorded. The test signs it with its own secret.
#[tokio::test]
async fn handles_recorded_body() {
    let app = Fixture::new();
    let body = include_bytes!("recorded.json").to_vec();
    let recorded: Request<Body> = signed_request(PATH, body, &app.secret);
    assert_eq!(app.send(recorded).await.status(), StatusCode::OK);
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Busy));
}
