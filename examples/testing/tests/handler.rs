//! The handler, behind the layer and without a socket: to be copied.

mod fixture;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use fixture::{Fixture, PATH};
use roomz_axum::store::MokaStore;
use roomz_axum::testing::{ManualClock, TestEvent, signed_request};
use roomz_axum::{PresenceStatus, RejectionKind, Secret, Skipped, Timestamp, WorkspaceId};

/// The workspace of these tests.
fn desk() -> WorkspaceId {
    "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5".parse().unwrap()
}

#[tokio::test]
async fn a_signed_event_changes_the_plan() {
    let app = Fixture::new();
    let answer = app.deliver(&TestEvent::busy().with_workspace_id(desk())).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Busy));
}

#[tokio::test]
async fn a_duplicate_does_not_change_it_twice() {
    let app = Fixture::new();
    let event = TestEvent::busy();
    assert_eq!(app.deliver(&event).await.extensions().get::<Skipped>(), None);

    let second = app.deliver(&event).await;
    assert_eq!(second.status(), StatusCode::OK, "or ROOMZ would deliver it for ever");
    assert_eq!(second.extensions().get(), Some(&Skipped::Duplicate));
    assert_eq!(app.plan.runs().len(), 1);
}

#[tokio::test]
async fn a_forged_event_is_refused_and_the_handler_is_not_run() {
    let app = Fixture::new();
    let forger = Secret::new("a guess").unwrap();
    let answer = app.send(TestEvent::busy().request(PATH, &forger)).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let refusal = answer.extensions().get::<roomz_axum::Rejection>().unwrap();
    assert_eq!(refusal.kind(), RejectionKind::SignatureMismatch);
    assert!(app.plan.runs().is_empty());
}

#[tokio::test]
async fn an_event_whose_handler_failed_comes_again_as_the_second_attempt() {
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
async fn a_late_event_does_not_overwrite_a_newer_one() {
    let app = Fixture::new();
    let nine: Timestamp = "2024-05-21T09:00:00Z".parse().unwrap();
    let ten: Timestamp = "2024-05-21T10:00:00Z".parse().unwrap();
    app.deliver(&TestEvent::free().with_workspace_id(desk()).with_timestamp(ten)).await;

    let late = app.deliver(&TestEvent::busy().with_workspace_id(desk()).with_timestamp(nine)).await;
    assert_eq!(late.status(), StatusCode::OK);
    assert_eq!(app.plan.runs().len(), 2, "it is no duplicate");
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Free));
}

/// Only with `with_max_age`. The clock is moved, so the test takes no hour.
#[tokio::test]
async fn an_event_that_is_older_than_the_maximum_age_is_refused() {
    let clock = ManualClock::new();
    let hour = Duration::from_secs(60 * 60);
    let app = Fixture::with(|layer| layer.with_max_age(hour).with_clock(clock.clone()));
    let event = TestEvent::busy();

    clock.advance(hour + Duration::from_secs(1));
    let answer = app.deliver(&event).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(app.plan.runs().is_empty());
}

/// Why a handler should bear to see an event twice. This clock is that of the store.
#[tokio::test]
async fn an_event_that_is_delivered_again_after_the_retention_is_handled_again() {
    let clock = ManualClock::new();
    let app = Fixture::with(|layer| layer.with_store(MokaStore::builder().with_clock(clock.clone()).build()));
    let event = TestEvent::busy();
    app.deliver(&event).await;

    clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    app.deliver(&event).await;
    assert_eq!(app.plan.runs().len(), 2);
}

/// What ROOMZ may add one day: acknowledged, because anything else would be a failed delivery.
#[tokio::test]
async fn an_event_of_another_type_is_acknowledged_and_the_handler_is_not_run() {
    let app = Fixture::new();
    let answer = app.deliver(&TestEvent::busy().with_type("workspace.moved")).await;
    assert_eq!((answer.status(), answer.extensions().get()), (StatusCode::OK, Some(&Skipped::Ignored)));
    assert!(app.plan.runs().is_empty());
}

/// A body that you have recorded, signed with the secret of the test.
#[tokio::test]
async fn a_recorded_body_is_handled() {
    let app = Fixture::new();
    let body = include_bytes!("recorded.json").to_vec();
    let recorded: Request<Body> = signed_request(PATH, body, &app.secret);
    assert_eq!(app.send(recorded).await.status(), StatusCode::OK);
    assert_eq!(app.plan.status(desk()), Some(PresenceStatus::Busy));
}
