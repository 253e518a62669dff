//! Concurrent operations and dropped futures.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::case::{BODY, Case, KEPT, LONG, claimed};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::store_under_test::StoreUnderTest;

/// How many new owners claim at the same moment.
const RACERS: usize = 8;
/// How many new owners claim at the same moment as another operation.
const RIVALS: usize = 2;

/// Runs an operation at the same moment as claims of new owners, and returns its result and theirs.
async fn race<T>(case: &Case, claims: usize, operation: impl Future<Output = T>) -> (T, Vec<ClaimState>) {
    let barrier = Arc::new(Barrier::new(claims + 1));
    let claims = (0..claims).map(|_| {
        let (case, barrier) = (case.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            barrier.wait().await;
            case.state().await
        })
    });
    let (claims, mut states) = (claims.collect::<Vec<_>>(), Vec::new());
    barrier.wait().await;
    let result = operation.await;
    for claim in claims {
        states.push(claim.await.unwrap_or_else(|error| panic!("a claim failed: {error}")));
    }
    (result, states)
}

async fn assert_one_claim_wins(case: &Case, attempt: u32) {
    let ((), states) = race(case, RACERS, async {}).await;
    let winners = states.iter().filter(|state| **state == claimed(attempt)).count();
    let waiting = states.iter().filter(|state| matches!(state, ClaimState::InFlight { .. })).count();
    assert_eq!((winners, waiting), (1, RACERS - 1), "one must win as attempt {attempt}: {states:?}");
}

pub async fn one_of_many_claims_wins(store: &StoreUnderTest) {
    for _ in 0..store.rounds {
        assert_one_claim_wins(&Case::new(store), 1).await;
    }
}

pub async fn one_takeover_when_lease_ends(store: &StoreUnderTest) {
    for (case, _) in abandoned(store).await {
        assert_one_claim_wins(&case, 2).await;
    }
}

pub async fn one_takeover_after_release(store: &StoreUnderTest) {
    for _ in 0..store.rounds {
        let (case, owner) = Case::claimed(store, KEPT).await;
        assert_eq!(case.release(owner).await, Settled::Applied);
        assert_one_claim_wins(&case, 2).await;
    }
}

pub async fn one_claim_of_expired_event(store: &StoreUnderTest) {
    let unit = store.short();
    let mut cases = Vec::new();
    for round in 0..store.rounds {
        let (case, owner) = Case::claimed(store, (unit, unit)).await;
        if round % 2 == 0 {
            assert_eq!(case.complete(owner, unit).await, Settled::Applied);
        }
        cases.push(case);
    }
    store.end(unit).await;
    for case in cases {
        assert_one_claim_wins(&case, 1).await;
    }
}

pub async fn release_excludes_takeover(store: &StoreUnderTest) {
    for (case, owner) in abandoned(store).await {
        let (_, states) = race(&case, RIVALS, case.release(owner)).await;
        // Whether the release or the takeover came first, exactly one of the other owners holds the claim
        // now.
        let winners = states.iter().filter(|state| matches!(state, ClaimState::Claimed { .. })).count();
        assert_eq!(winners, 1, "{states:?}");
        case.assert_in_flight().await;
    }
}

pub async fn completion_excludes_takeover(store: &StoreUnderTest) {
    for (case, owner) in abandoned(store).await {
        let (settled, states) = race(&case, RIVALS, case.complete(owner, LONG)).await;
        assert_applied_or_taken_over(settled, &states);
        assert_eq!(case.state().await == ClaimState::Done, settled == Settled::Applied);
    }
}

pub async fn renewal_excludes_takeover(store: &StoreUnderTest) {
    for (case, owner) in abandoned(store).await {
        let (settled, states) = race(&case, RIVALS, case.renew(owner, LONG)).await;
        assert_applied_or_taken_over(settled, &states);
    }
}

fn assert_applied_or_taken_over(settled: Settled, states: &[ClaimState]) {
    let (applied, taken_over) = (settled == Settled::Applied, states.contains(&claimed(2)));
    assert!(applied != taken_over, "applied: {applied}, taken over: {taken_over}: {states:?}");
}

pub async fn dropped_operation_is_atomic(store: &StoreUnderTest) {
    let mut usual = Duration::MAX;
    // The first claim may wait for a connection.
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(Case::new(store).state().await, claimed(1));
        usual = usual.min(start.elapsed());
    }
    // From 0 to twice the usual time.
    let after = |round: usize| usual.mul_f64((round % 41) as f64 / 20.0);
    let rounds = store.rounds.min(400);

    for round in 0..rounds {
        let (case, owner) = (Case::new(store), Owner::random());
        drop_after(case.claim(owner, KEPT), after(round)).await;
        // Another owner sees the whole claim or none. If none, it claims the event itself, even if the first
        // claim arrives late.
        let holder = match case.claim_body(Owner::random(), BODY, KEPT).await {
            (ClaimState::InFlight { .. }, true) => owner,
            (ClaimState::Claimed { attempt: 1 }, true) => continue,
            other => panic!("a dropped claim left {other:?}"),
        };

        drop_after(case.renew(holder, LONG), after(round + 7)).await;
        case.assert_in_flight().await;

        if round % 2 == 0 {
            drop_after(case.complete(holder, LONG), after(round + 13)).await;
            let state = case.state().await;
            assert!(matches!(state, ClaimState::Done | ClaimState::InFlight { .. }), "{state:?}");
            assert_eq!(case.complete(holder, LONG).await, Settled::Applied);
            assert_eq!(case.state().await, ClaimState::Done);
        } else {
            drop_after(case.release(holder), after(round + 13)).await;
            let mut state = case.state().await;
            if matches!(state, ClaimState::InFlight { .. }) {
                // Released by this call, or a moment ago by the release that was dropped.
                let _ = case.release(holder).await;
                state = case.state().await;
            }
            assert_eq!(state, claimed(2));
            case.assert_in_flight().await;
        }
    }

    for (round, (case, _)) in abandoned(store).await.into_iter().take(rounds).enumerate() {
        drop_after(case.state(), after(round)).await;
        let (state, matches) = case.claim_body(Owner::random(), BODY, KEPT).await;
        assert!(matches, "a dropped takeover changed the fingerprint");
        assert!(
            matches!(state, ClaimState::InFlight { .. } | ClaimState::Claimed { attempt: 2 }),
            "{state:?}"
        );
        case.assert_in_flight().await;
    }
}

/// Polls a future for this time, then drops it.
async fn drop_after(future: impl Future, time: Duration) {
    let mut future = pin!(future);
    let start = Instant::now();
    loop {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() || start.elapsed() >= time
        {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Returns many events whose lease has ended, after one wait.
async fn abandoned(store: &StoreUnderTest) -> Vec<(Case, Owner)> {
    let lease = store.short();
    let mut cases = Vec::with_capacity(store.rounds);
    for _ in 0..store.rounds {
        cases.push(Case::claimed(store, (lease, LONG)).await);
    }
    store.end(lease).await;
    cases
}
