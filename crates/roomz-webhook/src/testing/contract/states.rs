//! States, owners, fingerprints, leases and retention.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use roomz_protocol::{EventId, Uuid};

use super::case::{BODY, Case, KEPT, LONG, OTHER_BODY, assert_in_flight, claimed, random_id};
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

pub async fn in_flight_reports_remaining_lease(store: &StoreUnderTest) {
    let lease = store.short();
    let (new, _) = Case::claimed(store, KEPT).await;
    let (case, _) = Case::claimed(store, (lease, LONG)).await;
    store.pass(lease / 2).await;
    for (case, expected) in [(&new, LONG / 2..=LONG), (&case, Duration::ZERO..=lease / 2)] {
        match case.state().await {
            ClaimState::InFlight { remaining } if expected.contains(&remaining) => {}
            other => panic!("expected InFlight with {expected:?} of the lease, found {other:?}"),
        }
    }
    store.pass(lease * 3 / 4).await;
    assert_eq!(case.state().await, claimed(2), "a duplicate claim does not extend the lease");
}

pub async fn completed_event_stays_done(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, KEPT).await;
    assert_eq!(case.complete(owner, LONG).await, Settled::Applied);
    for _ in 0..3 {
        assert_eq!(case.state().await, ClaimState::Done);
    }
    assert_eq!(case.claim(owner, KEPT).await, ClaimState::Done, "also for its owner");
    assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    assert_eq!(case.release(owner).await, Settled::Lost);
    case.assert_not_owner(Owner::random()).await;
    assert_eq!(case.complete(owner, LONG).await, Settled::Applied, "repeated by its owner");
    assert_eq!(case.state().await, ClaimState::Done);
}

pub async fn stale_owner_loses(store: &StoreUnderTest) {
    let (lease, new) = (store.short(), Owner::random());
    let (case, stale) = Case::claimed(store, (lease, LONG)).await;
    store.end(lease).await;
    assert_eq!(case.claim(new, KEPT).await, claimed(2));
    assert_in_flight(case.claim(stale, KEPT).await);
    case.assert_not_owner(stale).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(new, LONG).await, Settled::Applied);
    assert_eq!(case.complete(stale, LONG).await, Settled::Lost);
    assert_eq!(case.state().await, ClaimState::Done);
}

/// After a release, a renewal and a release, and a takeover. A released event has no owner.
pub async fn attempts_are_counted(store: &StoreUnderTest) {
    let (case, lease, same) = (Case::new(store), store.short(), Owner::random());
    for attempt in 1..=6 {
        let owner = if attempt > 3 { same } else { Owner::random() };
        assert_eq!(case.claim(owner, KEPT).await, claimed(attempt));
        if owner == same {
            assert_eq!(case.renew(owner, LONG).await, Settled::Applied);
        }
        assert_eq!(case.release(owner).await, Settled::Applied);
        assert_eq!(case.complete(owner, LONG).await, Settled::Lost);
        assert_eq!(case.renew(owner, LONG).await, Settled::Lost);
    }
    for attempt in 7..=9 {
        assert_eq!(case.claim(Owner::random(), (lease, LONG)).await, claimed(attempt));
        case.assert_not_owner(same).await;
        case.assert_in_flight().await;
        store.end(lease).await;
    }
}

pub async fn owner_settles_after_lease_without_takeover(store: &StoreUnderTest) {
    let lease = store.short();
    let (completed, completer) = Case::claimed(store, (lease, LONG)).await;
    let (released, releaser) = Case::claimed(store, (lease, LONG)).await;
    let (renewed, renewer) = Case::claimed(store, (lease, LONG)).await;
    store.end(lease).await;
    assert_eq!(completed.complete(completer, LONG).await, Settled::Applied);
    assert_eq!(completed.state().await, ClaimState::Done);
    assert_eq!(released.release(releaser).await, Settled::Applied);
    assert_eq!(released.state().await, claimed(2));
    assert_eq!(renewed.renew(renewer, LONG).await, Settled::Applied);
    renewed.assert_in_flight().await;
}

pub async fn only_owner_settles(store: &StoreUnderTest) {
    let (lease, other) = (store.short(), Owner::random());
    let (unclaimed, (case, _)) = (Case::new(store), Case::claimed(store, (lease, LONG)).await);
    for case in [&unclaimed, &case] {
        case.assert_not_owner(other).await;
    }
    assert_eq!(unclaimed.state().await, claimed(1), "nothing was written");
    case.assert_in_flight().await;
    store.end(lease).await;
    assert_eq!(case.complete(other, LONG).await, Settled::Lost, "also after the lease");
    assert_eq!(case.state().await, claimed(2), "the other owner's renewal changed nothing");
}

pub async fn repeated_claim_keeps_attempt(store: &StoreUnderTest) {
    let lease = store.short();
    let (case, owner) = Case::claimed(store, (lease, LONG)).await;
    assert_eq!(case.claim(owner, (lease, LONG)).await, claimed(1), "a repeated claim is the same attempt");
    store.pass(lease * 3 / 4).await;
    assert_eq!(case.claim(owner, (lease, LONG)).await, claimed(1));
    store.pass(lease / 2).await;
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner, LONG).await, Settled::Applied);
}

/// A renewal moves the end of the lease, and a lease may be longer than the retention.
pub async fn live_claim_outlives_retention(store: &StoreUnderTest) {
    let unit = store.short();
    let (long, holder) = Case::claimed(store, (LONG, unit)).await;
    let (renewed, renewer) = Case::claimed(store, (unit, unit * 2)).await;
    let (shortened, owner) = Case::claimed(store, KEPT).await;
    assert_eq!(shortened.renew(owner, unit).await, Settled::Applied);
    for _ in 0..5 {
        store.pass(unit / 2).await;
        assert_eq!(renewed.renew(renewer, unit).await, Settled::Applied);
    }
    store.pass(unit / 2).await;
    for (case, owner) in [(long, holder), (renewed, renewer)] {
        case.assert_in_flight().await;
        assert_eq!(case.complete(owner, LONG).await, Settled::Applied);
    }
    assert_eq!(shortened.state().await, claimed(2), "a renewal can shorten the lease");
}

pub async fn retention_starts_at_completion(store: &StoreUnderTest) {
    let unit = store.short();
    let (short, owner) = Case::claimed(store, KEPT).await;
    assert_eq!(short.complete(owner, unit * 2).await, Settled::Applied);
    let (long, owner) = Case::claimed(store, (unit, unit * 2)).await;
    store.pass(unit).await;
    assert_eq!(short.state().await, ClaimState::Done, "half of the retention is left");
    store.pass(unit / 2).await;
    assert_eq!(long.complete(owner, LONG).await, Settled::Applied);
    store.pass(unit).await;
    assert_eq!(short.state().await, claimed(1), "a duplicate claim does not extend the retention");
    assert_eq!(long.state().await, ClaimState::Done);
}

pub async fn unfinished_event_expires_after_retention(store: &StoreUnderTest) {
    let unit = store.short();
    let (abandoned, _) = Case::claimed(store, (unit, unit * 10)).await;
    let (released, owner) = Case::claimed(store, (unit, unit * 10)).await;
    let (forgotten, _) = Case::claimed(store, (unit, unit * 3)).await;
    assert_eq!(released.release(owner).await, Settled::Applied);
    store.pass(unit * 4).await;
    for case in [abandoned, released] {
        assert_eq!(case.state().await, claimed(2), "the retention has not ended");
    }
    assert_eq!(forgotten.state().await, claimed(1), "the attempts expire too");
}

pub async fn expired_event_is_new_again(store: &StoreUnderTest) {
    let (unit, owner) = (store.short(), Owner::random());
    let cases: Vec<_> = (0..4).map(|_| Case::new(store)).collect();
    for (number, case) in cases.iter().enumerate() {
        assert_eq!(case.claim(owner, (unit, unit)).await, claimed(1));
        if number % 2 == 0 {
            assert_eq!(case.complete(owner, unit).await, Settled::Applied);
        }
    }
    store.end(unit).await;
    for case in cases.iter().take(2) {
        case.assert_not_owner(owner).await;
    }
    for case in cases {
        let new = Owner::random();
        let first = case.claim_body(new, OTHER_BODY, KEPT).await;
        assert_eq!(first, (claimed(1), true), "nothing is known of the event");
        assert_eq!(case.complete(new, LONG).await, Settled::Applied);
        assert_eq!(case.claim_body(new, BODY, KEPT).await, (ClaimState::Done, false));
    }
}

pub async fn reports_fingerprint_mismatch_in_every_state(store: &StoreUnderTest) {
    let (case, owner) = Case::claimed(store, KEPT).await;
    let (state, matches) = case.claim_body(Owner::random(), OTHER_BODY, KEPT).await;
    assert_in_flight(state);
    assert!(!matches, "the body is another one");
    assert_eq!(case.release(owner).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (claimed(2), false));
    assert_eq!(case.claim(owner, KEPT).await, claimed(2), "the first body's fingerprint stays");
    assert_eq!(case.complete(owner, LONG).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (ClaimState::Done, false));
    assert_eq!(case.claim(owner, KEPT).await, ClaimState::Done);

    let lease = store.short();
    let (case, _) = Case::claimed(store, (lease, LONG)).await;
    store.end(lease).await;
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (claimed(2), false));
    // A takeover keeps the first body's fingerprint, which this compares.
    case.assert_in_flight().await;
    assert_eq!(case.complete(owner, LONG).await, Settled::Applied);
    assert_eq!(case.claim_body(owner, OTHER_BODY, KEPT).await, (ClaimState::Done, false));
}

pub async fn namespaces_are_separate(store: &StoreUnderTest) {
    let id = random_id();
    for namespace in ["one", "two", "one:two", "one/two", "{one}", "ONE", "ünë", "one "] {
        let (case, owner) = (Case::with_key(store, namespace, id), Owner::random());
        assert_eq!(case.claim(owner, KEPT).await, claimed(1), "in {namespace:?}");
        assert_eq!(case.complete(owner, LONG).await, Settled::Applied, "in {namespace:?}");
    }
}

pub async fn compares_every_bit_of_id(store: &StoreUnderTest) {
    let id = random_id();
    assert_eq!(Case::with_key(store, "contract", id).state().await, claimed(1));
    let id = id.as_uuid().as_u128();
    for bit in 0..128 {
        let id = EventId::from(Uuid::from_u128(id ^ (1 << bit)));
        assert_eq!(Case::with_key(store, "contract", id).state().await, claimed(1), "bit {bit}");
    }
}

/// How many live claims fill the store, and how many events are handled while it is full.
const FULL: usize = 1_000;
/// Many at once, so that a server has them in seconds.
const CONCURRENT: usize = 64;

/// A full store forgets the oldest done events first, because a redelivery most likely belongs to a new one.
/// A store with several parts may keep some older ids.
pub async fn oldest_done_events_leave_first(store: &StoreUnderTest) {
    let handled = stream::iter(0..FULL).map(|_| async {
        let (case, owner) = Case::claimed(store, KEPT).await;
        assert_eq!(case.complete(owner, LONG).await, Settled::Applied);
        case
    });
    let handled: Vec<_> = handled.buffered(CONCURRENT).collect().await;
    let is_done = async |case: &Case| {
        let owner = Owner::random();
        let is_done = case.claim(owner, KEPT).await == ClaimState::Done;
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
        assert_eq!(case.complete(owner, LONG).await, Settled::Applied, "the full store lost a live claim");
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
