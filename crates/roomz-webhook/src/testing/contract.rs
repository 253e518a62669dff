//! What every [`IdempotencyStore`] must do, one function for each sentence; they are named by
//! [`store_contract!`](crate::store_contract).
//!
//! Every function uses ids of its own, so they may run side by side on one database.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a sentence that does not hold panics"
)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use roomz_protocol::{EventId, Uuid};
use tokio::sync::Barrier;

use super::subject::Subject;
use crate::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
};

/// Makes one test of each sentence of the contract, in a module of the given name.
///
/// The second argument is a future that makes a [`Subject`](crate::testing::Subject); it is run anew for each test. A
/// new version of this crate may add sentences. It may also give `Option<Subject>`: with `None`, where there is no
/// server to test with, the tests do nothing.
///
/// ```
/// # struct MyStore(roomz_webhook::MokaStore);
/// # impl MyStore { async fn open() -> Self { Self(roomz_webhook::MokaStore::new()) } }
/// # #[async_trait::async_trait]
/// # impl roomz_webhook::IdempotencyStore for MyStore {
/// #     async fn claim(&self, k: &roomz_webhook::ClaimKey, c: &roomz_webhook::ClaimRequest)
/// #         -> Result<roomz_webhook::Claim, roomz_webhook::StoreError> { todo!() }
/// #     async fn renew(&self, k: &roomz_webhook::ClaimKey, o: roomz_webhook::Owner, l: std::time::Duration)
/// #         -> Result<roomz_webhook::Settled, roomz_webhook::StoreError> { todo!() }
/// #     async fn complete(&self, k: &roomz_webhook::ClaimKey, o: roomz_webhook::Owner, r: std::time::Duration)
/// #         -> Result<roomz_webhook::Settled, roomz_webhook::StoreError> { todo!() }
/// #     async fn release(&self, k: &roomz_webhook::ClaimKey, o: roomz_webhook::Owner)
/// #         -> Result<roomz_webhook::Settled, roomz_webhook::StoreError> { todo!() }
/// # }
/// use roomz_webhook::testing::Subject;
///
/// roomz_webhook::store_contract!(my_store, async {
///     Subject::new(MyStore::open().await).with_peer(MyStore::open().await)
/// });
/// ```
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $subject:expr $(,)?) => {
        mod $name {
            use super::*;

            $crate::store_contract! { @tests $subject;
                a_peer_sees_what_the_other_claimed
                the_first_claim_wins_as_attempt_one
                a_live_claim_is_in_flight_for_everybody_else
                a_finished_event_is_done_for_everybody
                an_owner_that_asks_again_after_a_takeover_is_told_to_wait
                a_finished_event_is_forgotten_after_its_retention_and_not_before
                the_retention_counts_from_the_completion
                a_claim_whose_lease_is_over_is_taken_over_as_the_next_attempt
                an_abandoned_claim_is_remembered_for_its_retention_and_then_forgotten
                a_renewed_claim_outlives_its_retention
                a_lease_longer_than_the_retention_is_kept
                what_comes_after_the_retention_is_a_new_event
                a_released_event_is_free_at_once_and_its_attempts_are_counted_on
                a_released_event_is_remembered_for_its_retention
                a_renewal_moves_the_end_of_the_lease
                a_renewal_can_shorten_a_lease
                the_remaining_time_is_that_of_the_lease_that_runs
                asking_does_not_prolong_a_lease
                after_the_lease_the_owner_may_still_settle_if_nobody_took_over
                a_stranger_can_neither_renew_nor_complete_nor_release
                a_stale_owner_has_lost
                what_was_never_claimed_cannot_be_settled
                a_finished_event_can_be_neither_renewed_nor_released
                a_released_event_can_be_settled_by_nobody
                a_claim_whose_reply_was_lost_is_claimed_again
                a_completion_whose_reply_was_lost_is_applied_again
                another_body_is_marked_in_every_state
                namespaces_do_not_see_each_other
                ids_that_differ_in_one_bit_are_two_events
                exactly_one_of_many_claims_wins
                exactly_one_takes_over_when_a_lease_ends
                exactly_one_takes_over_after_a_release
                exactly_one_claims_what_has_expired
                a_completion_and_a_takeover_exclude_each_other
                a_release_and_a_takeover_exclude_each_other
                a_renewal_and_a_takeover_exclude_each_other
                an_operation_dropped_halfway_happened_or_did_not
            }
        }
    };
    (@tests $subject:expr; $($sentence:ident)*) => {
        $(
            #[test]
            fn $sentence() {
                $crate::testing::contract::run(async {
                    let subject = ::core::option::Option::<$crate::testing::Subject>::from($subject.await);
                    if let ::core::option::Option::Some(subject) = subject {
                        $crate::testing::contract::$sentence(&subject).await;
                    }
                });
            }
        )*
    };
}

const LONG: Duration = Duration::from_secs(60 * 60);
const BODY: &[u8] = b"the body";
const OTHER_BODY: &[u8] = b"another body";
/// How many race for one claim.
const RACERS: usize = 8;

/// Runs one test on a runtime of its own.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("no runtime could be started: {error}"),
    }
}

/// One event, and those who want it.
#[derive(Clone)]
struct Case {
    stores: Vec<Arc<dyn IdempotencyStore>>,
    turn: Arc<AtomicUsize>,
    key: ClaimKey,
}

impl Case {
    fn new(subject: &Subject) -> Self {
        Self::with_key(subject, "contract", random_id())
    }

    fn with_key(subject: &Subject, namespace: &str, id: EventId) -> Self {
        Self { stores: subject.stores(), turn: Arc::default(), key: ClaimKey::new(namespace.into(), id) }
    }

    /// Each instance in turn.
    fn store(&self) -> &dyn IdempotencyStore {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.stores.len();
        match self.stores.get(turn) {
            Some(store) => store,
            None => panic!("there is no store"),
        }
    }

    async fn claim_kept(&self, owner: Owner, lease: Duration, retention: Duration) -> ClaimState {
        let request = ClaimRequest::new(owner, Fingerprint::of(BODY), lease, retention);
        answer("claim", self.store().claim(&self.key, &request)).await.state
    }

    async fn claim_body(&self, owner: Owner, body: &[u8], lease: Duration) -> (ClaimState, bool) {
        let request = ClaimRequest::new(owner, Fingerprint::of(body), lease, LONG);
        let claim = answer("claim", self.store().claim(&self.key, &request)).await;
        (claim.state, claim.fingerprint_matches)
    }

    async fn claim_for(&self, owner: Owner, lease: Duration) -> ClaimState {
        let (state, matches) = self.claim_body(owner, BODY, lease).await;
        assert!(matches, "the body is the same, but was marked as another");
        state
    }

    async fn claim(&self, owner: Owner) -> ClaimState {
        self.claim_for(owner, LONG).await
    }

    /// What somebody new is told.
    async fn state(&self) -> ClaimState {
        self.claim(Owner::random()).await
    }

    async fn renew(&self, owner: Owner, lease: Duration) -> Settled {
        answer("renew", self.store().renew(&self.key, owner, lease)).await
    }

    async fn complete(&self, owner: Owner) -> Settled {
        answer("complete", self.store().complete(&self.key, owner, LONG)).await
    }

    async fn release(&self, owner: Owner) -> Settled {
        answer("release", self.store().release(&self.key, owner)).await
    }

    async fn assert_in_flight(&self) {
        let state = self.state().await;
        assert!(matches!(state, ClaimState::InFlight { .. }), "expected InFlight, found {state:?}");
    }
}

fn random_id() -> EventId {
    Uuid::from_bytes(Owner::random().to_bytes()).into()
}

/// What the store answers, in a time that no store needs.
async fn answer<T>(operation: &str, asked: impl Future<Output = Result<T, StoreError>>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("`{operation}` failed: {error:?}"),
        Err(_) => panic!("`{operation}` did not answer in 30 s"),
    }
}

const fn claimed(attempt: u32) -> ClaimState {
    ClaimState::Claimed { attempt }
}

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

pub async fn a_peer_sees_what_the_other_claimed(subject: &Subject) {
    let stores = subject.stores();
    for store in &stores {
        let case = Case { stores: vec![Arc::clone(store)], ..Case::new(subject) };
        assert_eq!(case.claim(Owner::random()).await, claimed(1));
        for peer in &stores {
            let peer = Case { stores: vec![Arc::clone(peer)], ..case.clone() };
            let state = peer.state().await;
            assert!(
                matches!(state, ClaimState::InFlight { .. }),
                "a peer must be a handle on the same data, but does not see the claim: {state:?}"
            );
        }
    }
}

pub async fn a_lease_longer_than_the_retention_is_kept(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, unit) = (Owner::random(), subject.short());
    assert_eq!(case.claim_kept(owner, LONG, unit).await, claimed(1));
    subject.pass(unit * 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn the_first_claim_wins_as_attempt_one(subject: &Subject) {
    let case = Case::new(subject);
    assert_eq!(case.claim(Owner::random()).await, claimed(1));
}

pub async fn a_live_claim_is_in_flight_for_everybody_else(subject: &Subject) {
    let case = Case::new(subject);
    assert_eq!(case.claim(Owner::random()).await, claimed(1));
    for _ in 0..3 {
        match case.state().await {
            ClaimState::InFlight { remaining } => {
                assert!(remaining <= LONG, "{remaining:?} is longer than the lease");
                assert!(remaining > LONG / 2, "{remaining:?} remain of a lease of {LONG:?} just begun");
            }
            other => panic!("expected InFlight, found {other:?}"),
        }
    }
}

pub async fn a_finished_event_is_done_for_everybody(subject: &Subject) {
    let case = Case::new(subject);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.complete(owner).await, Settled::Applied);
    for _ in 0..3 {
        assert_eq!(case.state().await, ClaimState::Done);
    }
    assert_eq!(case.claim(owner).await, ClaimState::Done, "for its owner too");
}

pub async fn a_finished_event_is_forgotten_after_its_retention_and_not_before(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, retention) = (Owner::random(), subject.short() * 2);
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(
        answer("complete", case.store().complete(&case.key, owner, retention)).await,
        Settled::Applied
    );
    subject.pass(retention / 2).await;
    assert_eq!(case.state().await, ClaimState::Done, "half of its retention is left");
    subject.pass(retention * 3 / 4).await;
    assert_eq!(case.state().await, claimed(1), "asking does not prolong the retention");
}

pub async fn the_retention_counts_from_the_completion(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, unit) = (Owner::random(), subject.short());
    assert_eq!(case.claim_kept(owner, unit, unit * 2).await, claimed(1));
    subject.pass(unit * 3 / 2).await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
    subject.pass(unit).await;
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn a_claim_whose_lease_is_over_is_taken_over_as_the_next_attempt(subject: &Subject) {
    let case = Case::new(subject);
    let lease = subject.short();
    for attempt in 1..=3 {
        assert_eq!(case.claim_for(Owner::random(), lease).await, claimed(attempt));
        case.assert_in_flight().await;
        subject.pass(lease + lease / 5).await;
    }
}

pub async fn an_owner_that_asks_again_after_a_takeover_is_told_to_wait(subject: &Subject) {
    let case = Case::new(subject);
    let (stale, new, lease) = (Owner::random(), Owner::random(), subject.short());
    assert_eq!(case.claim_for(stale, lease).await, claimed(1));
    subject.pass(lease + lease / 5).await;
    assert_eq!(case.claim(new).await, claimed(2));
    let state = case.claim(stale).await;
    assert!(matches!(state, ClaimState::InFlight { .. }), "two owners at once: {state:?}");
    assert_eq!(case.complete(new).await, Settled::Applied);
}

pub async fn an_abandoned_claim_is_remembered_for_its_retention_and_then_forgotten(subject: &Subject) {
    let unit = subject.short();
    let (remembered, forgotten) = (Case::new(subject), Case::new(subject));
    assert_eq!(remembered.claim_kept(Owner::random(), unit, unit * 10).await, claimed(1));
    assert_eq!(forgotten.claim_kept(Owner::random(), unit, unit * 3).await, claimed(1));
    subject.pass(unit * 4).await;
    assert_eq!(remembered.state().await, claimed(2), "its lease is long over, but not its retention");
    assert_eq!(forgotten.state().await, claimed(1), "the attempts are forgotten too");
}

pub async fn a_renewed_claim_outlives_its_retention(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, unit) = (Owner::random(), subject.short());
    assert_eq!(case.claim_kept(owner, unit, unit * 2).await, claimed(1));
    for _ in 0..4 {
        subject.pass(unit / 2).await;
        assert_eq!(case.renew(owner, unit * 2).await, Settled::Applied);
    }
    subject.pass(unit / 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn what_comes_after_the_retention_is_a_new_event(subject: &Subject) {
    let unit = subject.short();
    let (done, abandoned) = (Case::new(subject), Case::new(subject));
    let owner = Owner::random();
    assert_eq!(done.claim(owner).await, claimed(1));
    assert_eq!(answer("complete", done.store().complete(&done.key, owner, unit)).await, Settled::Applied);
    assert_eq!(abandoned.claim_kept(owner, unit, unit).await, claimed(1));
    subject.pass(unit + unit / 5).await;
    for case in [done, abandoned] {
        let new = Owner::random();
        assert_eq!(case.claim_body(new, OTHER_BODY, LONG).await, (claimed(1), true), "its body is the first");
        assert_eq!(case.complete(new).await, Settled::Applied);
        assert_eq!(case.claim_body(new, BODY, LONG).await, (ClaimState::Done, false));
    }
}

pub async fn a_released_event_is_free_at_once_and_its_attempts_are_counted_on(subject: &Subject) {
    let case = Case::new(subject);
    for attempt in 1..=3 {
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(attempt));
        assert_eq!(case.release(owner).await, Settled::Applied);
    }
}

pub async fn a_released_event_is_remembered_for_its_retention(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, unit) = (Owner::random(), subject.short());
    assert_eq!(case.claim_kept(owner, unit, unit * 10).await, claimed(1));
    assert_eq!(case.release(owner).await, Settled::Applied);
    subject.pass(unit * 4).await;
    assert_eq!(case.state().await, claimed(2));
}

pub async fn a_renewal_can_shorten_a_lease(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, lease) = (Owner::random(), subject.short());
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.renew(owner, lease).await, Settled::Applied);
    subject.pass(lease + lease / 5).await;
    assert_eq!(case.state().await, claimed(2));
}

pub async fn the_remaining_time_is_that_of_the_lease_that_runs(subject: &Subject) {
    let case = Case::new(subject);
    let lease = subject.short();
    assert_eq!(case.claim_for(Owner::random(), lease).await, claimed(1));
    subject.pass(lease / 2).await;
    match case.state().await {
        ClaimState::InFlight { remaining } => {
            assert!(remaining <= lease / 2, "{remaining:?} of {lease:?}, half of which has passed");
        }
        other => panic!("expected InFlight, found {other:?}"),
    }
}

pub async fn a_renewal_moves_the_end_of_the_lease(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, lease) = (Owner::random(), subject.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    for _ in 0..3 {
        subject.pass(lease / 2).await;
        assert_eq!(case.renew(owner, lease).await, Settled::Applied);
    }
    subject.pass(lease / 2).await;
    case.assert_in_flight().await;
    subject.pass(lease).await;
    assert_eq!(case.state().await, claimed(2), "the renewed lease ends too");
}

pub async fn asking_does_not_prolong_a_lease(subject: &Subject) {
    let case = Case::new(subject);
    let lease = subject.short();
    assert_eq!(case.claim_for(Owner::random(), lease).await, claimed(1));
    subject.pass(lease / 2).await;
    case.assert_in_flight().await;
    subject.pass(lease * 3 / 4).await;
    assert_eq!(case.state().await, claimed(2));
}

pub async fn after_the_lease_the_owner_may_still_settle_if_nobody_took_over(subject: &Subject) {
    let (lease, owner) = (subject.short(), Owner::random());
    let cases: Vec<_> = (0..3).map(|_| Case::new(subject)).collect();
    for case in &cases {
        assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    }
    subject.pass(lease + lease / 5).await;
    let [completed, released, renewed] = &cases[..] else { return };
    assert_eq!(completed.complete(owner).await, Settled::Applied);
    assert_eq!(completed.state().await, ClaimState::Done);
    assert_eq!(released.release(owner).await, Settled::Applied);
    assert_eq!(released.state().await, claimed(2));
    assert_eq!(renewed.renew(owner, LONG).await, Settled::Applied);
    renewed.assert_in_flight().await;
}

pub async fn a_stranger_can_neither_renew_nor_complete_nor_release(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, stranger, lease) = (Owner::random(), Owner::random(), subject.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    assert_eq!(case.renew(stranger, LONG).await, Settled::Lost);
    assert_eq!(case.complete(stranger).await, Settled::Lost);
    assert_eq!(case.release(stranger).await, Settled::Lost);
    case.assert_in_flight().await;
    subject.pass(lease + lease / 5).await;
    assert_eq!(case.complete(stranger).await, Settled::Lost, "after the lease neither");
    assert_eq!(case.state().await, claimed(2), "and the stranger's renewal moved nothing");
}

pub async fn a_stale_owner_has_lost(subject: &Subject) {
    let case = Case::new(subject);
    let (stale, new, lease) = (Owner::random(), Owner::random(), subject.short());
    assert_eq!(case.claim_for(stale, lease).await, claimed(1));
    subject.pass(lease + lease / 5).await;
    assert_eq!(case.claim(new).await, claimed(2));
    assert_eq!(case.renew(stale, LONG).await, Settled::Lost);
    assert_eq!(case.release(stale).await, Settled::Lost);
    assert_eq!(case.complete(stale).await, Settled::Lost);
    case.assert_in_flight().await;
    assert_eq!(case.complete(new).await, Settled::Applied);
    assert_eq!(case.complete(stale).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn what_was_never_claimed_cannot_be_settled(subject: &Subject) {
    let case = Case::new(subject);
    let owner = Owner::random();
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.complete(owner).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    assert_eq!(case.state().await, claimed(1), "nothing was written");
}

pub async fn a_finished_event_can_be_neither_renewed_nor_released(subject: &Subject) {
    let case = Case::new(subject);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn a_released_event_can_be_settled_by_nobody(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, next) = (Owner::random(), Owner::random());
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.complete(owner).await, Settled::Lost);
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.claim(next).await, claimed(2));
    assert_eq!(case.release(owner).await, Settled::Lost, "it is somebody else's now");
    case.assert_in_flight().await;
}

pub async fn a_claim_whose_reply_was_lost_is_claimed_again(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, lease) = (Owner::random(), subject.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    assert_eq!(case.claim_for(owner, lease).await, claimed(1), "not a duplicate, and no new attempt");
    subject.pass(lease * 3 / 4).await;
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    subject.pass(lease / 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn a_completion_whose_reply_was_lost_is_applied_again(subject: &Subject) {
    let case = Case::new(subject);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.complete(Owner::random()).await, Settled::Lost, "for its owner only");
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn another_body_is_marked_in_every_state(subject: &Subject) {
    let case = Case::new(subject);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    let (state, matches) = case.claim_body(Owner::random(), OTHER_BODY, LONG).await;
    assert!(matches!(state, ClaimState::InFlight { .. }) && !matches, "{state:?}, matches: {matches}");

    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, LONG).await, (claimed(2), false));
    assert_eq!(case.claim_body(owner, BODY, LONG).await, (claimed(2), true), "the first body's mark stays");
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, LONG).await, (ClaimState::Done, false));
    assert_eq!(case.claim_body(owner, BODY, LONG).await, (ClaimState::Done, true));

    let (case, lease) = (Case::new(subject), subject.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    subject.pass(lease + lease / 5).await;
    assert_eq!(case.claim_body(Owner::random(), OTHER_BODY, LONG).await, (claimed(2), false));
    let (state, matches) = case.claim_body(Owner::random(), BODY, LONG).await;
    assert!(
        matches!(state, ClaimState::InFlight { .. }) && matches,
        "a takeover keeps the first body's mark"
    );
}

pub async fn namespaces_do_not_see_each_other(subject: &Subject) {
    let id = random_id();
    for namespace in ["one", "two", "one:two", "one/two", "{one}", "ONE", "ünë", "one "] {
        let case = Case::with_key(subject, namespace, id);
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(1), "in {namespace:?}");
        assert_eq!(case.complete(owner).await, Settled::Applied, "in {namespace:?}");
    }
}

pub async fn ids_that_differ_in_one_bit_are_two_events(subject: &Subject) {
    let id = random_id().as_uuid().as_u128();
    for bit in 0..128 {
        let case = Case::with_key(subject, "contract", Uuid::from_u128(id ^ (1 << bit)).into());
        assert_eq!(case.state().await, claimed(1), "bit {bit}");
    }
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
