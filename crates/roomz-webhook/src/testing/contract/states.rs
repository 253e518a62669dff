//! States, owners and fingerprints.

use std::sync::Arc;

use roomz_protocol::Uuid;

use super::case::{BODY, Case, LONG, OTHER_BODY, claimed, random_id};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::store_under_test::StoreUnderTest;

pub async fn shares_claims_between_instances(store: &StoreUnderTest) {
    let instances = store.stores();
    for instance in &instances {
        let case = Case { stores: vec![Arc::clone(instance)], ..Case::new(store) };
        assert_eq!(case.claim(Owner::random()).await, claimed(1));
        for peer in &instances {
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
    let case = Case::new(store);
    assert_eq!(case.claim(Owner::random()).await, claimed(1));
}

pub async fn live_claim_is_in_flight_for_others(store: &StoreUnderTest) {
    let case = Case::new(store);
    assert_eq!(case.claim(Owner::random()).await, claimed(1));
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
    let case = Case::new(store);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.complete(owner).await, Settled::Applied);
    for _ in 0..3 {
        assert_eq!(case.state().await, ClaimState::Done);
    }
    assert_eq!(case.claim(owner).await, ClaimState::Done, "also for its owner");
}

pub async fn old_owner_is_in_flight_after_takeover(store: &StoreUnderTest) {
    let case = Case::new(store);
    let (stale, new, lease) = (Owner::random(), Owner::random(), store.short());
    assert_eq!(case.claim_for(stale, lease).await, claimed(1));
    store.pass(lease + lease / 5).await;
    assert_eq!(case.claim(new).await, claimed(2));
    let state = case.claim(stale).await;
    assert!(matches!(state, ClaimState::InFlight { .. }), "two owners hold the claim: {state:?}");
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
    let (lease, owner) = (store.short(), Owner::random());
    let cases: Vec<_> = (0..3).map(|_| Case::new(store)).collect();
    for case in &cases {
        assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    }
    store.pass(lease + lease / 5).await;
    let [completed, released, renewed] = &cases[..] else { return };
    assert_eq!(completed.complete(owner).await, Settled::Applied);
    assert_eq!(completed.state().await, ClaimState::Done);
    assert_eq!(released.release(owner).await, Settled::Applied);
    assert_eq!(released.state().await, claimed(2));
    assert_eq!(renewed.renew(owner, LONG).await, Settled::Applied);
    renewed.assert_in_flight().await;
}

pub async fn other_owner_cannot_settle(store: &StoreUnderTest) {
    let case = Case::new(store);
    let (owner, other, lease) = (Owner::random(), Owner::random(), store.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    assert_eq!(case.renew(other, LONG).await, Settled::Lost);
    assert_eq!(case.complete(other).await, Settled::Lost);
    assert_eq!(case.release(other).await, Settled::Lost);
    case.assert_in_flight().await;
    store.pass(lease + lease / 5).await;
    assert_eq!(case.complete(other).await, Settled::Lost, "also after the lease");
    assert_eq!(case.state().await, claimed(2), "the other owner's renewal changed nothing");
}

pub async fn stale_owner_loses(store: &StoreUnderTest) {
    let case = Case::new(store);
    let (stale, new, lease) = (Owner::random(), Owner::random(), store.short());
    assert_eq!(case.claim_for(stale, lease).await, claimed(1));
    store.pass(lease + lease / 5).await;
    assert_eq!(case.claim(new).await, claimed(2));
    assert_eq!(case.renew(stale, LONG).await, Settled::Lost);
    assert_eq!(case.release(stale).await, Settled::Lost);
    assert_eq!(case.complete(stale).await, Settled::Lost);
    case.assert_in_flight().await;
    assert_eq!(case.complete(new).await, Settled::Applied);
    assert_eq!(case.complete(stale).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn unclaimed_event_cannot_be_settled(store: &StoreUnderTest) {
    let case = Case::new(store);
    let owner = Owner::random();
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.complete(owner).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    assert_eq!(case.state().await, claimed(1), "nothing was written");
}

pub async fn completed_event_cannot_be_renewed_or_released(store: &StoreUnderTest) {
    let case = Case::new(store);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn renewal_keeps_attempt(store: &StoreUnderTest) {
    let case = Case::new(store);
    let owner = Owner::random();
    for attempt in 1..=3 {
        assert_eq!(case.claim(owner).await, claimed(attempt));
        assert_eq!(case.renew(owner, LONG).await, Settled::Applied);
        assert_eq!(case.release(owner).await, Settled::Applied);
    }
}

pub async fn released_event_cannot_be_settled(store: &StoreUnderTest) {
    let case = Case::new(store);
    let (owner, next) = (Owner::random(), Owner::random());
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.complete(owner).await, Settled::Lost);
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.claim(next).await, claimed(2));
    assert_eq!(case.release(owner).await, Settled::Lost, "another owner holds the claim now");
    case.assert_in_flight().await;
}

pub async fn repeated_claim_keeps_attempt(store: &StoreUnderTest) {
    let case = Case::new(store);
    let (owner, lease) = (Owner::random(), store.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    assert_eq!(case.claim_for(owner, lease).await, claimed(1), "a repeated claim is the same attempt");
    store.pass(lease * 3 / 4).await;
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    store.pass(lease / 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn repeated_completion_is_applied(store: &StoreUnderTest) {
    let case = Case::new(store);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.complete(Owner::random()).await, Settled::Lost, "only for its owner");
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn reports_fingerprint_mismatch_in_every_state(store: &StoreUnderTest) {
    let case = Case::new(store);
    let owner = Owner::random();
    assert_eq!(case.claim(owner).await, claimed(1));
    let (state, matches) = case.claim_body(Owner::random(), OTHER_BODY, LONG).await;
    assert!(matches!(state, ClaimState::InFlight { .. }) && !matches, "{state:?}, matches: {matches}");

    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, LONG).await, (claimed(2), false));
    assert_eq!(
        case.claim_body(owner, BODY, LONG).await,
        (claimed(2), true),
        "the first body's fingerprint stays"
    );
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, LONG).await, (ClaimState::Done, false));
    assert_eq!(case.claim_body(owner, BODY, LONG).await, (ClaimState::Done, true));

    let (case, lease) = (Case::new(store), store.short());
    assert_eq!(case.claim_for(owner, lease).await, claimed(1));
    store.pass(lease + lease / 5).await;
    let owner = Owner::random();
    assert_eq!(case.claim_body(owner, OTHER_BODY, LONG).await, (claimed(2), false));
    let (state, matches) = case.claim_body(Owner::random(), BODY, LONG).await;
    assert!(
        matches!(state, ClaimState::InFlight { .. }) && matches,
        "a takeover keeps the first body's fingerprint"
    );
    assert_eq!(case.complete(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, LONG).await, (ClaimState::Done, false));
}

pub async fn namespaces_are_separate(store: &StoreUnderTest) {
    let id = random_id();
    for namespace in ["one", "two", "one:two", "one/two", "{one}", "ONE", "ünë", "one "] {
        let case = Case::with_key(store, namespace, id);
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(1), "in {namespace:?}");
        assert_eq!(case.complete(owner).await, Settled::Applied, "in {namespace:?}");
    }
}

pub async fn compares_every_bit_of_id(store: &StoreUnderTest) {
    let id = random_id().as_uuid().as_u128();
    for bit in 0..128 {
        let case = Case::with_key(store, "contract", Uuid::from_u128(id ^ (1 << bit)).into());
        assert_eq!(case.state().await, claimed(1), "bit {bit}");
    }
}
