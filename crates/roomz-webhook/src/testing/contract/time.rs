//! Leases and retentions.

use super::case::{BODY, Case, LONG, OTHER_BODY, answer, claimed};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::subject::Subject;

pub async fn a_lease_longer_than_the_retention_is_kept(subject: &Subject) {
    let case = Case::new(subject);
    let (owner, unit) = (Owner::random(), subject.short());
    assert_eq!(case.claim_kept(owner, LONG, unit).await, claimed(1));
    subject.pass(unit * 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
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

pub async fn what_has_expired_can_be_settled_by_nobody(subject: &Subject) {
    let unit = subject.short();
    let cases: Vec<_> = (0..4).map(|_| Case::new(subject)).collect();
    let owner = Owner::random();
    for case in &cases {
        assert_eq!(case.claim_kept(owner, unit, unit).await, claimed(1));
    }
    let [renewed, completed, released, done] = &cases[..] else { return };
    assert_eq!(answer("complete", done.store().complete(&done.key, owner, unit)).await, Settled::Applied);
    subject.pass(unit + unit / 5).await;
    assert_eq!(renewed.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(completed.complete(owner).await, Settled::Lost);
    assert_eq!(released.release(owner).await, Settled::Lost);
    assert_eq!(done.complete(owner).await, Settled::Lost);
    for case in &cases {
        assert_eq!(case.state().await, claimed(1), "nothing was written");
    }
}
