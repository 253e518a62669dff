//! The contract tests for stores, and the durability of this store.

use axum::body::Body;
use axum::http::StatusCode;
use custom_store::RedbStore;
use roomz_axum::Skipped;
use roomz_axum::{Secret, WebhookLayer};
use roomz_webhook::testing::{ManualClock, StoreUnderTest, TestEvent};
use tower::ServiceExt as _;

roomz_webhook::store_contract!(redb_store, async {
    let clock = ManualClock::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = RedbStore::open(file.path()).unwrap().with_clock(clock.clone());
    StoreUnderTest::new(store.clone())
        .with_peer(store)
        .with_advance(move |by| clock.advance(by))
        .with_rounds(50)
});

#[tokio::test]
async fn claims_survive_restart() {
    let directory = tempfile::tempdir().unwrap();
    let secret = Secret::new("the webhook secret").unwrap();
    let event = TestEvent::busy();
    let mut skipped = Vec::new();
    for _ in 0..2 {
        let store = RedbStore::open(directory.path().join("claims.redb")).unwrap();
        let webhook = WebhookLayer::builder(secret.clone()).with_store(store).build().unwrap();
        let request = event.request::<Body>("/webhooks/roomz", &secret);
        let response = custom_store::app(webhook).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        skipped.push(response.extensions().get::<Skipped>().copied());
    }
    assert_eq!(skipped, [None, Some(Skipped::Duplicate)]);
}
