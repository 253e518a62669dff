//! States, owners and fingerprints.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use roomz_protocol::{EventId, Uuid};

use super::case::{Case, KEPT, LONG, OTHER_BODY, assert_in_flight, claimed, random_id};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::store_under_test::StoreUnderTest;

pub async fn shares_claims_between_instances(store: &StoreUnderTest) {
    for instance in &store.stores {
        let case = Case { stores: vec![Arc::clone(instance)], ..Case::new(store) };
        assert_eq!(case.state().await, claimed(1));
        for peer in &store.stores {
            let peer = Case { stores: vec![Arc::clone(peer)], ..case.clone() };
            let state = peer.state().await;
            assert!(
                matches!(state, ClaimState::InFlight { .. }),
                "a peer must use the same data, but does not see the claim: {state:?}"
            );
        }
    }
}

pub async fn first_claim_is_attempt_one(store: &StoreUnderTest) {
    assert_eq!(Case::new(store).state().await, claimed(1));
}

pub async fn live_claim_is_in_flight_for_others(store: &StoreUnderTest) {
    let (case, _) = Case::claimed(store, LONG).await;
    for _ in 0..3 {
        match case.state().await {
            ClaimState::InFlight { remaining } => {
                assert!(remaining <= LONG, "{remaining:?} is longer than the lease");
                assert!(remaining > LONG / 2, "{remaining:?} remain of a new lease of {LONG:?}");
            }
            other => panic!("expected InFlight, found {other:?}"),
        }
    }
}

pub async fn completed_event_is_done_for_all(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, LONG).await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
    for _ in 0..3 {
        assert_eq!(case.state().await, ClaimState::Done);
    }
    assert_eq!(case.claim(owner).await, ClaimState::Done, "also for its owner");
}

pub async fn old_owner_is_in_flight_after_takeover(store: &StoreUnderTest) {
    let (case, stale, new) = taken_over(store).await;
    assert_in_flight(case.claim(stale).await);
    assert_eq!(case.complete(new).await, Settled::Applied);
}

pub async fn released_event_keeps_attempt_count(store: &StoreUnderTest) {
    let case = Case::new(store);
    for attempt in 1..=3 {
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(attempt));
        assert_eq!(case.release(owner).await, Settled::Applied);
    }
}

pub async fn owner_settles_after_lease_without_takeover(store: &StoreUnderTest) {
    let lease = store.short();
    let (completed, completer) = Case::claimed(store, lease).await;
    let (released, releaser) = Case::claimed(store, lease).await;
    let (renewed, renewer) = Case::claimed(store, lease).await;
    store.end(lease).await;
    assert_eq!(completed.complete(completer).await, Settled::Applied);
    assert_eq!(completed.state().await, ClaimState::Done);
    assert_eq!(released.release(releaser).await, Settled::Applied);
    assert_eq!(released.state().await, claimed(2));
    assert_eq!(renewed.renew(renewer, LONG).await, Settled::Applied);
    renewed.assert_in_flight().await;
}

pub async fn other_owner_cannot_settle(store: &StoreUnderTest) {
    let (lease, other) = (store.short(), Owner::random());
    let (case, _) = Case::claimed(store, lease).await;
    assert_eq!(case.renew(other, LONG).await, Settled::Lost);
    assert_eq!(case.complete(other).await, Settled::Lost);
    assert_eq!(case.release(other).await, Settled::Lost);
    case.assert_in_flight().await;
    store.end(lease).await;
    assert_eq!(case.complete(other).await, Settled::Lost, "also after the lease");
    assert_eq!(case.state().await, claimed(2), "the other owner's renewal changed nothing");
}

pub async fn stale_owner_loses(store: &StoreUnderTest) {
    let (case, stale, new) = taken_over(store).await;
    assert_eq!(case.renew(stale, LONG).await, Settled::Lost);
    assert_eq!(case.release(stale).await, Settled::Lost);
    assert_eq!(case.complete(stale).await, Settled::Lost);
    case.assert_in_flight().await;
    assert_eq!(case.complete(new).await, Settled::Applied);
    assert_eq!(case.complete(stale).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn unclaimed_event_cannot_be_settled(store: &StoreUnderTest) {
    let (case, owner) = (Case::new(store), Owner::random());
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.complete(owner).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    assert_eq!(case.state().await, claimed(1), "nothing was written");
}

pub async fn completed_event_cannot_be_renewed_or_released(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, LONG).await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn renewal_keeps_attempt(store: &StoreUnderTest) {
    let (case, owner) = (Case::new(store), Owner::random());
    for attempt in 1..=3 {
        assert_eq!(case.claim(owner).await, claimed(attempt));
        assert_eq!(case.renew(owner, LONG).await, Settled::Applied);
        assert_eq!(case.release(owner).await, Settled::Applied);
    }
}

pub async fn released_event_cannot_be_settled(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, LONG).await;
    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.complete(owner).await, Settled::Lost);
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.state().await, claimed(2));
    assert_eq!(case.release(owner).await, Settled::Lost, "another owner holds the claim now");
    case.assert_in_flight().await;
}

pub async fn repeated_claim_keeps_attempt(store: &StoreUnderTest) {
    let lease = store.short();
    let (case, owner) = Case::claimed(store, lease).await;
    assert_eq!(case.claim_for(owner, lease).await, claimed(1), "a repeated claim is the same attempt");
    store.pass(lease * 3 / 4).await;
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    store.pass(lease / 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn repeated_completion_is_applied(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, LONG).await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.complete(Owner::random()).await, Settled::Lost, "only for its owner");
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn reports_fingerprint_mismatch_in_every_state(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, LONG).await;
    let (state, matches) = case.claim_body(Owner::random(), OTHER_BODY, KEPT).await;
    assert_in_flight(state);
    assert!(!matches, "the body is another one");
    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (claimed(2), false));
    assert_eq!(case.claim(owner).await, claimed(2), "the first body's fingerprint stays");
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (ClaimState::Done, false));
    assert_eq!(case.claim(owner).await, ClaimState::Done);

    let lease = store.short();
    let (case, _) = Case::claimed(store, lease).await;
    store.end(lease).await;
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (claimed(2), false));
    // A takeover keeps the first body's fingerprint, which this compares.
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (ClaimState::Done, false));
}

pub async fn namespaces_are_separate(store: &StoreUnderTest) {
    let id = random_id();
    for namespace in ["one", "two", "one:two", "one/two", "{one}", "ONE", "ünë", "one "] {
        let (case, owner) = (Case::with_key(store, namespace, id), Owner::random());
        assert_eq!(case.claim(owner).await, claimed(1), "in {namespace:?}");
        assert_eq!(case.complete(owner).await, Settled::Applied, "in {namespace:?}");
    }
}

pub async fn compares_every_bit_of_id(store: &StoreUnderTest) {
    let id = random_id();
    assert_eq!(Case::with_key(store, "contract", id).state().await, claimed(1));
    let id = id.as_uuid().as_u128();
    for bit in 0..128 {
        let id = EventId::from_uuid(Uuid::from_u128(id ^ (1 << bit)));
        assert_eq!(Case::with_key(store, "contract", id).state().await, claimed(1), "bit {bit}");
    }
}

/// A full store forgets the oldest done events first, because a redelivery most likely belongs to a new one.
/// A store with several parts may keep some older ids.
pub async fn oldest_done_events_leave_first(store: &StoreUnderTest) {
    let handled = stream::iter(0..FULL).map(|_| async {
        let (case, owner) = Case::claimed(store, LONG).await;
        assert_eq!(case.complete(owner).await, Settled::Applied);
        case
    });
    let handled: Vec<_> = handled.buffered(CONCURRENT).collect().await;
    let is_done = async |case: &Case| {
        let owner = Owner::random();
        let is_done = case.claim(owner).await == ClaimState::Done;
        // A claim would take the room of others.
        is_done || case.release(owner).await == Settled::Lost
    };
    let mut forgets_new = false;
    for case in handled.iter().rev().take(FULL / 10) {
        forgets_new |= !is_done(case).await;
    }
    for case in handled.iter().take(if forgets_new { FULL / 2 } else { 0 }) {
        assert!(
            !is_done(case).await,
            "a full store forgot one of the newest events before one of the oldest"
        );
    }
}

/// A case whose lease ended and that another owner claimed. Returns the old and the new owner.
async fn taken_over(store: &StoreUnderTest) -> (Case, Owner, Owner) {
    let (lease, new) = (store.short(), Owner::random());
    let (case, stale) = Case::claimed(store, lease).await;
    store.end(lease).await;
    assert_eq!(case.claim(new).await, claimed(2));
    (case, stale, new)
}

/// How many live claims fill the store, and how many events are handled while it is full.
const FULL: usize = 1_000;
/// Many at once, so that a server has them in seconds.
const CONCURRENT: usize = 64;

/// A claim that is refused as `Full` is not live. Neither further claims nor done ids may replace a live one.
pub async fn full_store_keeps_live_claims(store: &StoreUnderTest) {
    let claims = stream::iter(0..FULL).map(|_| async {
        let (case, owner) = (Case::new(store), Owner::random());
        case.claim_unless_full(owner).await.then_some((case, owner))
    });
    let claims: Vec<_> = claims.buffer_unordered(CONCURRENT).collect().await;
    let mut live: Vec<_> = claims.into_iter().flatten().collect();

    let handled = live.split_off(live.len() / 2);
    let complete = async |(case, owner): (Case, Owner)| {
        assert_eq!(case.complete(owner).await, Settled::Applied, "the full store lost a live claim");
    };
    stream::iter(handled).for_each_concurrent(CONCURRENT, complete).await;
    let handle = async |_| {
        let (case, owner) = (Case::new(store), Owner::random());
        if case.claim_unless_full(owner).await {
            complete((case, owner)).await;
        }
    };
    stream::iter(0..FULL).for_each_concurrent(CONCURRENT, handle).await;

    let settle = async |(case, owner): (Case, Owner)| {
        case.assert_in_flight().await;
        complete((case, owner)).await;
    };
    stream::iter(live).for_each_concurrent(CONCURRENT, settle).await;
    assert_eq!(Case::new(store).state().await, claimed(1), "no claim is live, so there is room for one");
}
