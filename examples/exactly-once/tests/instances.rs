//! Two instances on one PostgreSQL.

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Event, Secret, Skipped};
use roomz_tests::postgres_url_or_skip;
use sqlx::{Connection as _, PgConnection};
use tower::ServiceExt as _;

async fn deliver(app: &Router, event: &TestEvent, secret: &Secret) -> (StatusCode, Option<Skipped>) {
    let response = app.clone().oneshot(event.request::<Body>("/webhooks/roomz", secret)).await.unwrap();
    (response.status(), response.extensions().get().copied())
}

/// An event has one row: a duplicate at another instance adds none, and neither does a failed attempt.
#[tokio::test]
async fn event_has_one_row() {
    let Some(url) = postgres_url_or_skip() else { return };
    let secret = Secret::new("the webhook secret").unwrap();
    let (first, _) = exactly_once::app(secret.clone(), &url).await.unwrap();
    let (second, _) = exactly_once::app(secret.clone(), &url).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();

    let event = TestEvent::busy();
    let id = Event::parse(&event.body()).unwrap().id;
    sqlx::raw_sql("ALTER TABLE visits RENAME TO renamed").execute(&mut connection).await.unwrap();
    assert_eq!(deliver(&first, &event, &secret).await, (StatusCode::INTERNAL_SERVER_ERROR, None));
    sqlx::raw_sql("ALTER TABLE renamed RENAME TO visits").execute(&mut connection).await.unwrap();
    assert_eq!(deliver(&first, &event, &secret).await, (StatusCode::OK, None));
    assert_eq!(deliver(&second, &event, &secret).await, (StatusCode::OK, Some(Skipped::Duplicate)));

    let count = sqlx::query_scalar("SELECT count(*) FROM visits WHERE event_id = $1");
    let rows: i64 = count.bind(id.to_string()).fetch_one(&mut connection).await.unwrap();
    assert_eq!(rows, 1);
}
