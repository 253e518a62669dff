//! Two instances that share one store, on every store that is available.

use axum::body::Body;
use axum::http::StatusCode;
use roomz_axum::Skipped;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use roomz_tests::{postgres_url_or_skip, redis_url_or_skip};
use tower::ServiceExt as _;

/// An event that one instance handled is a duplicate for the other.
#[tokio::test]
async fn instances_share_claims() {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/claims.db", directory.path().display());
    for url in [Some(file), redis_url_or_skip(), postgres_url_or_skip()].into_iter().flatten() {
        let secret = Secret::new("the webhook secret").unwrap();
        let event = TestEvent::busy();
        let mut skipped = Vec::new();
        for _ in 0..2 {
            let store = shared_store::store(&url).await.unwrap();
            let webhook = WebhookLayer::builder(secret.clone()).with_store(store).build().unwrap();
            let request = event.request::<Body>("/webhooks/roomz", &secret);
            let response = shared_store::app(webhook).oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            skipped.push(response.extensions().get::<Skipped>().copied());
        }
        assert_eq!(skipped, [None, Some(Skipped::Duplicate)], "{url}");
    }
}

#[tokio::test]
async fn invalid_url_is_readable_error() {
    for (url, text) in [
        ("localhost", "invalid database URL: the scheme is missing"),
        ("mysql://localhost/floors", "invalid database URL: unknown scheme \"mysql\""),
        ("redis://", "invalid Redis URL"),
        ("sqlite::memory:", "invalid SQLite database: it is in memory"),
    ] {
        let Err(error) = shared_store::store(url).await else { panic!("{url} was accepted") };
        assert!(error.to_string().starts_with(text), "{error}");
    }
}
