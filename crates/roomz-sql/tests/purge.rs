//! Removing what has expired: all of it, nothing else, also while it is claimed anew.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::sync::Arc;
use std::time::Duration;

use roomz_sql::{SqlStore, sqlx};
use roomz_tests::postgres_url;
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled,
};
use tokio::sync::Barrier;

const HOUR: Duration = Duration::from_secs(60 * 60);
const MOMENT: Duration = Duration::from_millis(1);

struct Case {
    store: SqlStore,
    peer: SqlStore,
    _directory: tempfile::TempDir,
}

/// On a database that nobody else purges.
async fn cases() -> Vec<Case> {
    let directory = tempfile::tempdir().unwrap();
    let mut urls = vec![format!("sqlite://{}/claims.db", directory.path().display())];
    if let Some(url) = postgres_url() {
        let schema = format!("purge_{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        sqlx::query(create).execute(&pool).await.unwrap();
        urls.push(format!("{url}?options=-c%20search_path%3D{schema}"));
    }
    let mut cases = Vec::new();
    for url in urls {
        let store = SqlStore::connect(url.as_str()).await.unwrap();
        let peer = SqlStore::connect(url.as_str()).await.unwrap();
        cases.push(Case { store, peer, _directory: tempfile::tempdir().unwrap() });
    }
    // It outlives its cases, which the connections keep open.
    let _ = directory.keep();
    cases
}

fn key() -> ClaimKey {
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    ClaimKey::new("purge".into(), id.parse().unwrap())
}

async fn claim(store: &SqlStore, key: &ClaimKey, owner: Owner, kept: Duration) -> ClaimState {
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), MOMENT, kept);
    store.claim(key, &request).await.unwrap().state
}

#[tokio::test]
async fn all_that_has_expired_is_removed_in_batches_and_nothing_else() {
    for Case { store, peer, .. } in &cases().await {
        let owner = Owner::random();
        let (done, running, expired) = (key(), key(), 2_345);
        claim(store, &done, owner, HOUR).await;
        assert_eq!(store.complete(&done, owner, HOUR).await.unwrap(), Settled::Applied);
        claim(store, &running, owner, HOUR).await;
        for _ in 0..expired {
            claim(store, &key(), owner, MOMENT).await;
        }
        tokio::time::sleep(MOMENT * 5).await;
        let (one, other) = tokio::join!(store.purge(), peer.purge());
        assert_eq!(one.unwrap() + other.unwrap() + store.purge().await.unwrap(), expired);
        assert_eq!(claim(store, &done, Owner::random(), HOUR).await, ClaimState::Done);
        assert_eq!(claim(store, &running, Owner::random(), HOUR).await, ClaimState::claimed(2));
        assert_eq!(store.purge().await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_purge_never_removes_what_is_claimed_anew_at_the_same_moment() {
    for case in cases().await {
        for round in 0..600 {
            let (key, new) = (key(), Owner::random());
            claim(&case.store, &key, Owner::random(), MOMENT).await;
            tokio::time::sleep(MOMENT * 2).await;
            let barrier = Arc::new(Barrier::new(2));
            let purge = {
                let (peer, barrier) = (case.peer.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    peer.purge().await.unwrap()
                })
            };
            barrier.wait().await;
            let request = ClaimRequest::new(new, Fingerprint::of(b"new"), HOUR, HOUR);
            let claimed = case.store.claim(&key, &request).await.unwrap().state;
            assert_eq!(claimed, ClaimState::claimed(1));
            purge.await.unwrap();
            let settled = case.store.complete(&key, new, HOUR).await.unwrap();
            assert_eq!(settled, Settled::Applied, "the new claim was removed in round {round}");
        }
    }
}

#[tokio::test]
async fn a_purge_every_so_often_goes_on_after_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/claims.db", directory.path().display());
    let store = SqlStore::connect(url.as_str()).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let run = async |statement| sqlx::query(statement).execute(&pool).await.unwrap().rows_affected();
    run("ALTER TABLE roomz_claims RENAME TO away").await;
    let purging = tokio::spawn(store.clone().purge_every(MOMENT));
    tokio::time::sleep(MOMENT * 20).await;
    run("ALTER TABLE away RENAME TO roomz_claims").await;
    claim(&store, &key(), Owner::random(), MOMENT).await;
    while sqlx::query("SELECT * FROM roomz_claims").fetch_optional(&pool).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert!(!purging.is_finished());
    purging.abort();
}
