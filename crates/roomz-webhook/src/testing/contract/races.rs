//! Concurrent operations and dropped futures.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::case::{BODY, Case, LONG, claimed, expect_reply};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::store_under_test::StoreUnderTest;

/// How many tasks race for one claim.
const RACERS: usize = 8;

/// Runs all futures at the same moment and returns their results.
async fn race<T: Send + 'static>(
    racers: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let racers: Vec<_> = racers.into_iter().collect();
    let barrier = Arc::new(Barrier::new(racers.len()));
    let tasks: Vec<_> = racers
        .into_iter()
        .map(|racer| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                racer.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap_or_else(|error| panic!("a racer failed: {error}")));
    }
    results
}

fn claims(case: &Case) -> impl Iterator<Item = impl Future<Output = ClaimState> + Send + 'static> {
    let case = case.clone();
    (0..RACERS).map(move |_| {
        let case = case.clone();
        async move { case.state().await }
    })
}

fn assert_one_winner(states: &[ClaimState], attempt: u32) {
    let winners = states.iter().filter(|state| **state == claimed(attempt)).count();
    let waiting = states.iter().filter(|state| matches!(state, ClaimState::InFlight { .. })).count();
    assert_eq!((winners, waiting), (1, RACERS - 1), "one must win as attempt {attempt}: {states:?}");
}

pub async fn one_of_many_claims_wins(store: &StoreUnderTest) {
    for _ in 0..store.rounds() {
        let case = Case::new(store);
        assert_one_winner(&race(claims(&case)).await, 1);
    }
}

pub async fn one_takeover_when_lease_ends(store: &StoreUnderTest) {
    for case in abandoned(store).await {
        assert_one_winner(&race(claims(&case.0)).await, 2);
    }
}

pub async fn one_takeover_after_release(store: &StoreUnderTest) {
    for _ in 0..store.rounds() {
        let case = Case::new(store);
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(1));
        assert_eq!(case.release(owner).await, Settled::Applied);
        assert_one_winner(&race(claims(&case)).await, 2);
    }
}

pub async fn one_claim_of_expired_event(store: &StoreUnderTest) {
    let unit = store.short();
    let mut cases = Vec::new();
    for round in 0..store.rounds() {
        let (case, owner) = (Case::new(store), Owner::random());
        assert_eq!(case.claim_kept(owner, unit, unit).await, claimed(1));
        if round % 2 == 0 {
            assert_eq!(
                expect_reply("complete", case.store().complete(&case.key, owner, unit)).await,
                Settled::Applied
            );
        }
        cases.push(case);
    }
    store.pass(unit + unit / 5).await;
    for case in cases {
        assert_one_winner(&race(claims(&case)).await, 1);
    }
}

pub async fn release_excludes_takeover(store: &StoreUnderTest) {
    for (case, owner) in abandoned(store).await {
        let release = {
            let case = case.clone();
            async move { Observed::Settled(case.release(owner).await.settled) }
        };
        let observed = race_one_against_claims(&case, release).await;
        // Whether the release or the takeover came first, exactly one of the other owners holds the claim now.
        let claimed = |observed: &&Observed| matches!(observed, Observed::Claim(ClaimState::Claimed { .. }));
        let winners = observed.iter().filter(claimed).count();
        assert_eq!(winners, 1, "{observed:?}");
        case.assert_in_flight().await;
    }
}

pub async fn completion_excludes_takeover(store: &StoreUnderTest) {
    for (case, owner) in abandoned(store).await {
        let completion = {
            let case = case.clone();
            async move { Observed::Settled(case.complete(owner).await.settled) }
        };
        let observed = race_one_against_claims(&case, completion).await;
        let applied = observed.contains(&Observed::Settled(Settled::Applied));
        let taken_over = observed.contains(&Observed::Claim(claimed(2)));
        assert!(applied != taken_over, "completed: {applied}, taken over: {taken_over}: {observed:?}");
        let expected_done = case.state().await == ClaimState::Done;
        assert_eq!(expected_done, applied);
    }
}

pub async fn renewal_excludes_takeover(store: &StoreUnderTest) {
    for (case, owner) in abandoned(store).await {
        let renewal = {
            let case = case.clone();
            async move { Observed::Settled(case.renew(owner, LONG).await.settled) }
        };
        let observed = race_one_against_claims(&case, renewal).await;
        let applied = observed.contains(&Observed::Settled(Settled::Applied));
        let taken_over = observed.contains(&Observed::Claim(claimed(2)));
        assert!(applied != taken_over, "renewed: {applied}, taken over: {taken_over}: {observed:?}");
    }
}

pub async fn dropped_operation_is_atomic(store: &StoreUnderTest) {
    let measured = Case::new(store);
    let start = Instant::now();
    assert_eq!(measured.state().await, claimed(1));
    let usual = start.elapsed();
    // From 0 to twice the usual time.
    let after = |round: usize| usual.mul_f64((round % 41) as f64 / 20.0);
    let rounds = store.rounds().min(400);

    for round in 0..rounds {
        let (case, owner) = (Case::new(store), Owner::random());
        drop_after(case.claim(owner), after(round)).await;
        // Another owner sees the whole claim or none. If none, it claims the event itself, even if the first claim arrives late.
        let holder = match case.claim_body(Owner::random(), BODY, LONG).await {
            (ClaimState::InFlight { .. }, true) => owner,
            (ClaimState::Claimed { attempt: 1 }, true) => continue,
            other => panic!("a dropped claim left {other:?}"),
        };

        drop_after(case.renew(holder, LONG), after(round + 7)).await;
        case.assert_in_flight().await;

        if round % 2 == 0 {
            drop_after(case.complete(holder), after(round + 13)).await;
            let state = case.state().await;
            assert!(matches!(state, ClaimState::Done | ClaimState::InFlight { .. }), "{state:?}");
            assert_eq!(case.complete(holder).await, Settled::Applied);
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
        let (state, matches) = case.claim_body(Owner::random(), BODY, LONG).await;
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
    let mut cases = Vec::with_capacity(store.rounds());
    for _ in 0..store.rounds() {
        let (case, owner) = (Case::new(store), Owner::random());
        assert_eq!(case.claim_for(owner, lease).await, claimed(1));
        cases.push((case, owner));
    }
    store.pass(lease + lease / 5).await;
    cases
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observed {
    Claim(ClaimState),
    Settled(Settled),
}

async fn race_one_against_claims(
    case: &Case,
    one: impl Future<Output = Observed> + Send + 'static,
) -> Vec<Observed> {
    let one: Pin<Box<dyn Future<Output = Observed> + Send>> = Box::pin(one);
    let others = claims(case).take(2).map(|claim| -> Pin<Box<dyn Future<Output = Observed> + Send>> {
        Box::pin(async move { Observed::Claim(claim.await) })
    });
    race(std::iter::once(one).chain(others)).await
}
