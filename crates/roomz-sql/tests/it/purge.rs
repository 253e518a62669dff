//! Purging deletes all expired claims and nothing else, also while they are claimed again.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{random_hex, sqlite_url};
use futures_util::future::join_all;
use roomz_sql::SqlStore;
use roomz_tests::{postgres_url_or_skip, rounds};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled,
};
use tokio::sync::Barrier;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINIMUM: Duration = Duration::from_millis(1);

/// Two stores on one database.
struct Stores {
    store: SqlStore,
    peer: SqlStore,
}

/// Connects to databases that no other test purges: SQLite, and PostgreSQL if there is a server.
async fn connect() -> Vec<Stores> {
    let directory = tempfile::tempdir().unwrap();
    let mut urls = vec![sqlite_url(&directory)];
    if let Some(url) = postgres_url_or_skip() {
        let schema = format!("purge_{}", random_hex());
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        sqlx::query(create).execute(&pool).await.unwrap();
        urls.push(format!("{url}?options=-c%20search_path%3D{schema}"));
    }
    let mut all = Vec::new();
    for url in urls {
        let store = SqlStore::builder(url.as_str()).with_purge_interval(None).connect().await.unwrap();
        let peer = SqlStore::builder(url.as_str()).with_purge_interval(None).connect().await.unwrap();
        all.push(Stores { store, peer });
    }
    // The stores need the directory until the test ends.
    let _ = directory.keep();
    all
}

fn key() -> ClaimKey {
    ClaimKey::new("purge".into(), random_hex().parse().unwrap())
}

async fn claim(store: &SqlStore, key: &ClaimKey, owner: Owner, retention: Duration) -> ClaimState {
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), MINIMUM, retention);
    store.claim(key, &request).await.unwrap().state
}

#[tokio::test]
async fn deletes_only_expired_claims_in_batches() {
    for Stores { store, peer } in &connect().await {
        let owner = Owner::random();
        let (done, running, expired) = (key(), key(), 2_345);
        claim(store, &done, owner, HOUR).await;
        assert_eq!(store.complete(&done, owner, HOUR).await.unwrap(), Settled::Applied);
        claim(store, &running, owner, HOUR).await;
        for _ in 0..expired / 35 {
            join_all((0..35).map(|_| async { claim(store, &key(), owner, MINIMUM).await })).await;
        }
        tokio::time::sleep(MINIMUM * 5).await;
        let (first, second) = tokio::join!(store.purge(), peer.purge());
        assert_eq!(first.unwrap() + second.unwrap() + store.purge().await.unwrap(), expired);
        assert_eq!(claim(store, &done, Owner::random(), HOUR).await, ClaimState::Done);
        assert_eq!(claim(store, &running, Owner::random(), HOUR).await, ClaimState::claimed(2));
        assert_eq!(store.purge().await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_claim_is_not_deleted() {
    for stores in connect().await {
        for round in 0..rounds(200, 6_000) {
            let (key, new_owner) = (key(), Owner::random());
            claim(&stores.store, &key, Owner::random(), MINIMUM).await;
            tokio::time::sleep(MINIMUM * 2).await;
            let barrier = Arc::new(Barrier::new(2));
            let purge = {
                let (peer, barrier) = (stores.peer.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    peer.purge().await.unwrap()
                })
            };
            barrier.wait().await;
            let request = ClaimRequest::new(new_owner, Fingerprint::of(b"new"), HOUR, HOUR);
            let claimed = stores.store.claim(&key, &request).await.unwrap().state;
            assert_eq!(claimed, ClaimState::claimed(1));
            purge.await.unwrap();
            let settled = stores.store.complete(&key, new_owner, HOUR).await.unwrap();
            assert_eq!(settled, Settled::Applied, "the new claim was deleted in round {round}");
        }
    }
}

/// The background task starts with the store, continues after a failure, and ends when the last clone is
/// dropped.
#[tokio::test]
async fn purges_in_background_until_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    let store = SqlStore::builder(url.as_str()).with_purge_interval(MINIMUM).connect().await.unwrap();
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let execute = async |statement| sqlx::query(statement).execute(&pool).await.unwrap().rows_affected();
    let is_empty =
        async || sqlx::query("SELECT * FROM roomz_claims").fetch_optional(&pool).await.unwrap().is_none();
    execute("ALTER TABLE roomz_claims RENAME TO renamed").await;
    tokio::time::sleep(MINIMUM * 20).await;
    execute("ALTER TABLE renamed RENAME TO roomz_claims").await;
    let clone = store.clone();
    drop(store);
    claim(&clone, &key(), Owner::random(), MINIMUM).await;
    while !is_empty().await {
        tokio::task::yield_now().await;
    }

    let without_purging = SqlStore::builder(url).with_purge_interval(None).connect().await.unwrap();
    drop(clone);
    // The task of the first store may be in the middle of a batch.
    tokio::time::sleep(MINIMUM * 20).await;
    claim(&without_purging, &key(), Owner::random(), MINIMUM).await;
    tokio::time::sleep(MINIMUM * 50).await;
    assert!(!is_empty().await, "nobody purges");
    assert_eq!(without_purging.purge().await.unwrap(), 1);
}
