//! Leases and retention.

use super::case::{BODY, Case, KEPT, LONG, OTHER_BODY, claimed};
use crate::store::{ClaimState, Owner, Settled};
use crate::testing::store_under_test::StoreUnderTest;

pub async fn lease_may_exceed_retention(store: &StoreUnderTest) {
    let (case, owner, unit) = (Case::new(store), Owner::random(), store.short());
    assert_eq!(case.claim_kept(owner, LONG, unit).await, claimed(1));
    store.pass(unit * 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn completed_event_expires_after_retention(store: &StoreUnderTest) {
    let retention = store.short() * 2;
    let (case, owner) = Case::claimed(store, LONG).await;
    assert_eq!(case.complete_kept(owner, retention).await, Settled::Applied);
    store.pass(retention / 2).await;
    assert_eq!(case.state().await, ClaimState::Done, "half of the retention is left");
    store.pass(retention * 3 / 4).await;
    assert_eq!(case.state().await, claimed(1), "a duplicate claim does not extend the retention");
}

pub async fn retention_starts_at_completion(store: &StoreUnderTest) {
    let (case, owner, unit) = (Case::new(store), Owner::random(), store.short());
    assert_eq!(case.claim_kept(owner, unit, unit * 2).await, claimed(1));
    store.pass(unit * 3 / 2).await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
    store.pass(unit).await;
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn takeover_increments_attempt(store: &StoreUnderTest) {
    let case = Case::new(store);
    let lease = store.short();
    for attempt in 1..=3 {
        assert_eq!(case.claim_for(Owner::random(), lease).await, claimed(attempt));
        case.assert_in_flight().await;
        store.end(lease).await;
    }
}

pub async fn abandoned_claim_expires_after_retention(store: &StoreUnderTest) {
    let unit = store.short();
    let (remembered, forgotten) = (Case::new(store), Case::new(store));
    assert_eq!(remembered.claim_kept(Owner::random(), unit, unit * 10).await, claimed(1));
    assert_eq!(forgotten.claim_kept(Owner::random(), unit, unit * 3).await, claimed(1));
    store.pass(unit * 4).await;
    assert_eq!(remembered.state().await, claimed(2), "the lease has ended, the retention has not");
    assert_eq!(forgotten.state().await, claimed(1), "the attempts expire too");
}

pub async fn renewed_claim_outlives_retention(store: &StoreUnderTest) {
    let (case, owner, unit) = (Case::new(store), Owner::random(), store.short());
    assert_eq!(case.claim_kept(owner, unit, unit * 2).await, claimed(1));
    for _ in 0..4 {
        store.pass(unit / 2).await;
        assert_eq!(case.renew(owner, unit * 2).await, Settled::Applied);
    }
    store.pass(unit / 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner).await, Settled::Applied);
}

pub async fn expired_event_is_new_again(store: &StoreUnderTest) {
    let unit = store.short();
    let (abandoned, (done, owner)) = (Case::new(store), Case::claimed(store, LONG).await);
    assert_eq!(done.complete_kept(owner, unit).await, Settled::Applied);
    assert_eq!(abandoned.claim_kept(owner, unit, unit).await, claimed(1));
    store.end(unit).await;
    for case in [done, abandoned] {
        let new = Owner::random();
        assert_eq!(
            case.claim_body(new, OTHER_BODY, KEPT).await,
            (claimed(1), true),
            "this body is the first"
        );
        assert_eq!(case.complete(new).await, Settled::Applied);
        assert_eq!(case.claim_body(new, BODY, KEPT).await, (ClaimState::Done, false));
    }
}

pub async fn released_event_expires_after_retention(store: &StoreUnderTest) {
    let (case, owner, unit) = (Case::new(store), Owner::random(), store.short());
    assert_eq!(case.claim_kept(owner, unit, unit * 10).await, claimed(1));
    assert_eq!(case.release(owner).await, Settled::Applied);
    store.pass(unit * 4).await;
    assert_eq!(case.state().await, claimed(2));
}

pub async fn renewal_can_shorten_lease(store: &StoreUnderTest) {
    let lease = store.short();
    let (case, owner) = Case::claimed(store, LONG).await;
    assert_eq!(case.renew(owner, lease).await, Settled::Applied);
    store.end(lease).await;
    assert_eq!(case.state().await, claimed(2));
}

pub async fn in_flight_reports_remaining_lease(store: &StoreUnderTest) {
    let lease = store.short();
    let (case, _) = Case::claimed(store, lease).await;
    store.pass(lease / 2).await;
    match case.state().await {
        ClaimState::InFlight { remaining } => {
            assert!(remaining <= lease / 2, "{remaining:?} of {lease:?}, half of which has passed");
        }
        other => panic!("expected InFlight, found {other:?}"),
    }
}

pub async fn renewal_extends_lease(store: &StoreUnderTest) {
    let lease = store.short();
    let (case, owner) = Case::claimed(store, lease).await;
    for _ in 0..3 {
        store.pass(lease / 2).await;
        assert_eq!(case.renew(owner, lease).await, Settled::Applied);
    }
    store.pass(lease / 2).await;
    case.assert_in_flight().await;
    store.pass(lease).await;
    assert_eq!(case.state().await, claimed(2), "the renewed lease ends too");
}

pub async fn duplicate_claim_does_not_extend_lease(store: &StoreUnderTest) {
    let lease = store.short();
    let (case, _) = Case::claimed(store, lease).await;
    store.pass(lease / 2).await;
    case.assert_in_flight().await;
    store.pass(lease * 3 / 4).await;
    assert_eq!(case.state().await, claimed(2));
}

pub async fn expired_claim_cannot_be_settled(store: &StoreUnderTest) {
    let unit = store.short();
    let cases: Vec<_> = (0..4).map(|_| Case::new(store)).collect();
    let owner = Owner::random();
    for case in &cases {
        assert_eq!(case.claim_kept(owner, unit, unit).await, claimed(1));
    }
    let [renewed, completed, released, done] = &cases[..] else { return };
    assert_eq!(done.complete_kept(owner, unit).await, Settled::Applied);
    store.end(unit).await;
    assert_eq!(renewed.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(completed.complete(owner).await, Settled::Lost);
    assert_eq!(released.release(owner).await, Settled::Lost);
    assert_eq!(done.complete(owner).await, Settled::Lost);
    for case in &cases {
        assert_eq!(case.state().await, claimed(1), "nothing was written");
    }
}
