//! A batch gives each caller the outcome that the same operation has alone.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic in its helpers")]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use roomz_sql::SqlStore;
use roomz_tests::postgres_url_or_skip;
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use support::{random_hex, sqlite_url};

const HOUR: Duration = Duration::from_secs(60 * 60);
const EXPIRED: Duration = Duration::from_millis(1);
const ROUNDS: usize = 60;
const KEYS: usize = 40;

/// An operation. The numbers choose the owner and the body.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Claim { owner: usize, body: u8, lease: Duration, retention: Duration },
    Renew { owner: usize, lease: Duration },
    Complete { owner: usize, retention: Duration },
    Release { owner: usize },
}

fn any_operation(state: &mut u64) -> Operation {
    let mut below = |limit: u64| {
        // A linear congruential generator: the same operations in each run.
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % limit
    };
    let owner = usize::try_from(below(3)).unwrap();
    let mut duration = || if below(3) == 0 { EXPIRED } else { HOUR };
    let (one, other) = (duration(), duration());
    match below(5) {
        0 | 1 => {
            Operation::Claim { owner, body: u8::try_from(below(2)).unwrap(), lease: one, retention: other }
        }
        2 => Operation::Renew { owner, lease: HOUR },
        3 => Operation::Complete { owner, retention: other },
        _ => Operation::Release { owner },
    }
}

/// Executes the operation, and returns its outcome as text. The remaining lease differs from run to run.
async fn run(store: &SqlStore, key: &ClaimKey, owners: &[Owner], operation: Operation) -> String {
    match operation {
        Operation::Claim { owner, body, lease, retention } => {
            let request = ClaimRequest::new(owners[owner], Fingerprint::of(&[body]), lease, retention);
            let claim = store.claim(key, &request).await.unwrap();
            match claim.state {
                ClaimState::InFlight { .. } => format!("in flight {}", claim.fingerprint_matches),
                state => format!("{state:?} {}", claim.fingerprint_matches),
            }
        }
        Operation::Renew { owner, lease } => {
            format!("{:?}", store.renew(key, owners[owner], lease).await.unwrap())
        }
        Operation::Complete { owner, retention } => {
            format!("{:?}", store.complete(key, owners[owner], retention).await.unwrap())
        }
        Operation::Release { owner } => format!("{:?}", store.release(key, owners[owner]).await.unwrap()),
    }
}

/// Executes the same operations one by one, and as one batch for all keys.
async fn compare(store: &SqlStore) {
    let owners: Vec<_> = (0..3).map(|_| Owner::random()).collect();
    let new_keys = || -> Vec<_> {
        // Two namespaces with the same ids.
        let ids: Vec<_> = (0..KEYS / 2).map(|_| random_hex().parse().unwrap()).collect();
        ["one", "other"]
            .into_iter()
            .flat_map(|namespace| ids.iter().map(move |id| ClaimKey::new(namespace.into(), *id)))
            .collect()
    };
    let (alone, batched) = (new_keys(), new_keys());
    let mut state = 1;
    for round in 0..ROUNDS {
        let operations: Vec<_> = (0..KEYS).map(|_| any_operation(&mut state)).collect();
        let mut expected = Vec::new();
        for (key, operation) in alone.iter().zip(&operations) {
            expected.push(run(store, key, &owners, *operation).await);
        }
        let found = join_all(
            batched.iter().zip(&operations).map(|(key, operation)| run(store, key, &owners, *operation)),
        );
        let found = found.await;
        for (index, operation) in operations.iter().enumerate() {
            assert_eq!(found[index], expected[index], "round {round}, key {index}: {operation:?}");
        }
        // Leases and retentions of 1 ms are over in the next round.
        tokio::time::sleep(EXPIRED * 3).await;
    }
}

#[tokio::test]
async fn sqlite_batch_equals_single_operations() {
    let directory = tempfile::tempdir().unwrap();
    compare(&SqlStore::connect(sqlite_url(&directory)).await.unwrap()).await;
}

#[tokio::test]
async fn postgres_batch_equals_single_operations() {
    let Some(url) = postgres_url_or_skip() else { return };
    let builder = SqlStore::builder(&url).with_max_connections(1).with_purge_interval(None);
    compare(&builder.connect().await.unwrap()).await;
}
