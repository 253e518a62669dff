//! Who may do what in which state.

use std::sync::Arc;

use roomz_protocol::Uuid;

use super::case::{BODY, Case, LONG, OTHER_BODY, claimed, random_id};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::subject::Subject;

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

pub async fn a_released_event_is_free_at_once_and_its_attempts_are_counted_on(subject: &Subject) {
    let case = Case::new(subject);
    for attempt in 1..=3 {
        let owner = Owner::random();
        assert_eq!(case.claim(owner).await, claimed(attempt));
        assert_eq!(case.release(owner).await, Settled::Applied);
    }
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
