//! What happens when several come at the same moment.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::case::{BODY, Case, LONG, answer, claimed};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::subject::Subject;

/// How many race for one claim.
const RACERS: usize = 8;

/// Starts all of these at the same moment and collects what they say.
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

pub async fn exactly_one_of_many_claims_wins(subject: &Subject) {
    for _ in 0..subject.rounds() {
        let case = Case::new(subject);
        assert_one_winner(&race(claims(&case)).await, 1);
    }
}

pub async fn exactly_one_takes_over_when_a_lease_ends(subject: &Subject) {
    for case in abandoned(subject).await {
        assert_one_winner(&race(claims(&case.0)).await, 2);
    }
}

pub async fn exactly_one_takes_over_after_a_release(subject: &Subject) {
    for _ in 0..subject.rounds() {
        let case = Case::new(subject);
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(1));
        assert_eq!(case.release(owner).await, Settled::Applied);
        assert_one_winner(&race(claims(&case)).await, 2);
    }
}

pub async fn exactly_one_claims_what_has_expired(subject: &Subject) {
    let unit = subject.short();
    let mut cases = Vec::new();
    for round in 0..subject.rounds() {
        let (case, owner) = (Case::new(subject), Owner::random());
        assert_eq!(case.claim_kept(owner, unit, unit).await, claimed(1));
        if round % 2 == 0 {
            assert_eq!(
                answer("complete", case.store().complete(&case.key, owner, unit)).await,
                Settled::Applied
            );
        }
        cases.push(case);
    }
    subject.pass(unit + unit / 5).await;
    for case in cases {
        assert_one_winner(&race(claims(&case)).await, 1);
    }
}

pub async fn a_release_and_a_takeover_exclude_each_other(subject: &Subject) {
    for (case, owner) in abandoned(subject).await {
        let release = {
            let case = case.clone();
            async move { Said::Settled(case.release(owner).await) }
        };
        let said = race_one_against_claims(&case, release).await;
        // Released first or taken over first, exactly one of the others has it now, and keeps it.
        let claimed = |said: &&Said| matches!(said, Said::Claim(ClaimState::Claimed { .. }));
        let winners = said.iter().filter(claimed).count();
        assert_eq!(winners, 1, "{said:?}");
        case.assert_in_flight().await;
    }
}

pub async fn a_completion_and_a_takeover_exclude_each_other(subject: &Subject) {
    for (case, owner) in abandoned(subject).await {
        let completion = {
            let case = case.clone();
            async move { Said::Settled(case.complete(owner).await) }
        };
        let said = race_one_against_claims(&case, completion).await;
        let applied = said.contains(&Said::Settled(Settled::Applied));
        let taken_over = said.contains(&Said::Claim(claimed(2)));
        assert!(applied != taken_over, "completed: {applied}, taken over: {taken_over}: {said:?}");
        let expected_done = case.state().await == ClaimState::Done;
        assert_eq!(expected_done, applied);
    }
}

pub async fn a_renewal_and_a_takeover_exclude_each_other(subject: &Subject) {
    for (case, owner) in abandoned(subject).await {
        let renewal = {
            let case = case.clone();
            async move { Said::Settled(case.renew(owner, LONG).await) }
        };
        let said = race_one_against_claims(&case, renewal).await;
        let applied = said.contains(&Said::Settled(Settled::Applied));
        let taken_over = said.contains(&Said::Claim(claimed(2)));
        assert!(applied != taken_over, "renewed: {applied}, taken over: {taken_over}: {said:?}");
    }
}

pub async fn an_operation_dropped_halfway_happened_or_did_not(subject: &Subject) {
    let measured = Case::new(subject);
    let start = Instant::now();
    assert_eq!(measured.state().await, claimed(1));
    let usual = start.elapsed();
    // From at once to twice the time that it takes.
    let after = |round: usize| usual.mul_f64((round % 41) as f64 / 20.0);
    let rounds = subject.rounds().min(400);

    for round in 0..rounds {
        let (case, owner) = (Case::new(subject), Owner::random());
        drop_after(case.claim(owner), after(round)).await;
        // A stranger sees all of it or nothing; if nothing, the stranger has it, even if the claim arrives late.
        let holder = match case.claim_body(Owner::random(), BODY, LONG).await {
            (ClaimState::InFlight { .. }, true) => owner,
            (ClaimState::Claimed { attempt: 1 }, true) => continue,
            other => panic!("a claim dropped halfway left {other:?}"),
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
                // Given back now, or a moment ago by the release that was dropped.
                let _ = case.release(holder).await;
                state = case.state().await;
            }
            assert_eq!(state, claimed(2));
            case.assert_in_flight().await;
        }
    }

    for (round, (case, _)) in abandoned(subject).await.into_iter().take(rounds).enumerate() {
        drop_after(case.state(), after(round)).await;
        let (state, matches) = case.claim_body(Owner::random(), BODY, LONG).await;
        assert!(matches, "a takeover dropped halfway lost the body's mark");
        assert!(
            matches!(state, ClaimState::InFlight { .. } | ClaimState::Claimed { attempt: 2 }),
            "{state:?}"
        );
        case.assert_in_flight().await;
    }
}

/// Drives a future for so long, and drops it.
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

/// Many events whose owner let the lease end, waiting for that once.
async fn abandoned(subject: &Subject) -> Vec<(Case, Owner)> {
    let lease = subject.short();
    let mut cases = Vec::with_capacity(subject.rounds());
    for _ in 0..subject.rounds() {
        let (case, owner) = (Case::new(subject), Owner::random());
        assert_eq!(case.claim_for(owner, lease).await, claimed(1));
        cases.push((case, owner));
    }
    subject.pass(lease + lease / 5).await;
    cases
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Claim(ClaimState),
    Settled(Settled),
}

async fn race_one_against_claims(case: &Case, one: impl Future<Output = Said> + Send + 'static) -> Vec<Said> {
    let one: Pin<Box<dyn Future<Output = Said> + Send>> = Box::pin(one);
    let others = claims(case).take(2).map(|claim| -> Pin<Box<dyn Future<Output = Said> + Send>> {
        Box::pin(async move { Said::Claim(claim.await) })
    });
    race(std::iter::once(one).chain(others)).await
}
