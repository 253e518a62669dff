//! The contract for stores, and what is the moka store's own.

#![allow(clippy::unwrap_used, clippy::panic)] // in helpers; a test may

use std::time::Duration;

use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled,
    StoreErrorKind,
};
use roomz_webhook::testing::{ManualClock, StoreUnderTest};

const LEASE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

roomz_webhook::store_contract!(with_a_clock_that_is_moved, async {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_clock(clock.clone()).build();
    StoreUnderTest::new(store.clone())
        .with_peer(store)
        .with_advance(move |by| clock.advance(by))
        .with_rounds(5_000)
});

roomz_webhook::store_contract!(with_the_real_clock, async {
    StoreUnderTest::new(MokaStore::new()).with_rounds(100)
});

fn key(number: u128) -> ClaimKey {
    ClaimKey::new("test".into(), roomz_protocol::Uuid::from_u128(number).into())
}

async fn claim(store: &MokaStore, number: u128, owner: Owner) -> Result<ClaimState, StoreErrorKind> {
    let request = ClaimRequest::new(owner, Fingerprint::of(b""), LEASE, RETENTION);
    IdempotencyStore::claim(store, &key(number), &request)
        .await
        .map(|claim| claim.state)
        .map_err(|e| e.kind())
}

async fn complete(store: &MokaStore, number: u128, owner: Owner) -> Settled {
    IdempotencyStore::complete(store, &key(number), owner, RETENTION).await.unwrap()
}

async fn release(store: &MokaStore, number: u128, owner: Owner) -> Settled {
    IdempotencyStore::release(store, &key(number), owner).await.unwrap()
}

/// TinyLFU, moka's default policy, fails here: it refuses new ids when the cache is full.
#[tokio::test]
async fn filled_five_times_over_it_still_knows_the_newest_ids() {
    let capacity = 10_000;
    let store = MokaStore::builder().with_capacity(capacity).build();
    let owner = Owner::random();
    for number in 0..u128::from(capacity) * 5 {
        assert_eq!(claim(&store, number, owner).await, Ok(ClaimState::claimed(1)));
        assert_eq!(complete(&store, number, owner).await, Settled::Applied);
    }
    let newest = u128::from(capacity) * 4 + 200..u128::from(capacity) * 5;
    for number in newest {
        assert_eq!(claim(&store, number, owner).await, Ok(ClaimState::Done), "{number}");
    }
    assert!(store.evicted_early() > u64::from(capacity as u32) * 3, "{} were counted", store.evicted_early());
}

#[tokio::test]
async fn a_live_claim_is_never_forgotten_to_make_room() {
    let store = MokaStore::builder().with_capacity(10).with_max_in_flight(100).build();
    let owners: Vec<_> = (0..100).map(|_| Owner::random()).collect();
    for (number, owner) in owners.iter().enumerate() {
        assert_eq!(claim(&store, number as u128, *owner).await, Ok(ClaimState::claimed(1)));
    }
    assert_eq!(claim(&store, 1_000, Owner::random()).await, Err(StoreErrorKind::Full));
    for (number, owner) in owners.iter().enumerate() {
        assert_eq!(complete(&store, number as u128, *owner).await, Settled::Applied);
    }
    assert_eq!(claim(&store, 1_000, Owner::random()).await, Ok(ClaimState::claimed(1)));
}

#[tokio::test]
async fn dead_claims_make_room_and_their_owners_may_still_settle_them() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_max_in_flight(2).with_clock(clock.clone()).build();
    let (dead, live) = (Owner::random(), Owner::random());
    assert_eq!(claim(&store, 1, dead).await, Ok(ClaimState::claimed(1)));
    clock.advance(LEASE / 2);
    assert_eq!(claim(&store, 2, live).await, Ok(ClaimState::claimed(1)));
    assert_eq!(claim(&store, 3, live).await, Err(StoreErrorKind::Full));
    clock.advance(LEASE / 2);
    assert_eq!(claim(&store, 3, live).await, Ok(ClaimState::claimed(1)));
    assert_eq!(claim(&store, 4, live).await, Err(StoreErrorKind::Full), "the other two live");
    assert_eq!(complete(&store, 1, dead).await, Settled::Applied, "nobody took it over");
    assert_eq!(claim(&store, 1, live).await, Ok(ClaimState::Done));
    assert_eq!(release(&store, 2, live).await, Settled::Applied);
    assert_eq!(claim(&store, 2, dead).await, Ok(ClaimState::claimed(2)));
}

#[tokio::test]
async fn a_dead_claim_moved_to_make_room_can_be_renewed_and_given_back_by_its_owner() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_max_in_flight(2).with_clock(clock.clone()).build();
    let (owner, other) = (Owner::random(), Owner::random());
    for number in [1, 2] {
        assert_eq!(claim(&store, number, owner).await, Ok(ClaimState::claimed(1)));
    }
    clock.advance(LEASE);
    assert_eq!(claim(&store, 3, other).await, Ok(ClaimState::claimed(1)), "moves both");
    let renewed = IdempotencyStore::renew(&store, &key(1), owner, LEASE).await.unwrap();
    assert_eq!(renewed, Settled::Applied);
    assert_eq!(claim(&store, 1, other).await, Ok(ClaimState::in_flight(LEASE)));
    let stranger = IdempotencyStore::renew(&store, &key(2), other, LEASE).await.unwrap();
    assert_eq!(stranger, Settled::Lost);
    assert_eq!(release(&store, 2, owner).await, Settled::Applied);
    assert_eq!(release(&store, 2, owner).await, Settled::Lost, "given back once");
    assert_eq!(release(&store, 3, other).await, Settled::Applied);
    assert_eq!(claim(&store, 2, other).await, Ok(ClaimState::claimed(2)));
}

#[tokio::test]
async fn a_claim_moved_to_make_room_is_counted_on_when_taken_over() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_max_in_flight(1).with_clock(clock.clone()).build();
    let first = Owner::random();
    assert_eq!(claim(&store, 1, first).await, Ok(ClaimState::claimed(1)));
    clock.advance(LEASE);
    let other = Owner::random();
    assert_eq!(claim(&store, 2, other).await, Ok(ClaimState::claimed(1)));
    assert_eq!(complete(&store, 2, other).await, Settled::Applied);
    assert_eq!(claim(&store, 1, first).await, Ok(ClaimState::claimed(1)), "its own claim again");
    clock.advance(LEASE);
    assert_eq!(claim(&store, 1, other).await, Ok(ClaimState::claimed(2)));
    assert_eq!(complete(&store, 1, first).await, Settled::Lost);
}

#[tokio::test]
async fn a_jump_of_the_calendar_moves_no_lease() {
    // The store asks for monotonic time only: a clock whose calendar runs wild changes nothing.
    #[derive(Debug)]
    struct WildCalendar(std::sync::atomic::AtomicI64);
    impl roomz_webhook::Clock for WildCalendar {
        fn now(&self) -> roomz_protocol::Timestamp {
            let jump = self.0.fetch_add(1_000_000, std::sync::atomic::Ordering::SeqCst);
            roomz_protocol::Timestamp::from_second(jump).unwrap()
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }
    let store = MokaStore::builder().with_clock(WildCalendar(0.into())).build();
    assert_eq!(claim(&store, 1, Owner::random()).await, Ok(ClaimState::claimed(1)));
    for _ in 0..10 {
        let state = claim(&store, 1, Owner::random()).await;
        assert_eq!(state, Ok(ClaimState::in_flight(LEASE)));
    }
}

#[tokio::test]
async fn a_clone_is_the_same_store() {
    let store = MokaStore::new();
    assert_eq!(claim(&store, 1, Owner::random()).await, Ok(ClaimState::claimed(1)));
    assert!(matches!(claim(&store.clone(), 1, Owner::random()).await, Ok(ClaimState::InFlight { .. })));
}
