//! `MokaStore`: the contract for stores, and its own behaviour.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MokaStore, Owner, Settled,
    StoreErrorKind,
};
use roomz_webhook::testing::{ManualClock, StoreUnderTest};

const LEASE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

roomz_webhook::store_contract!(with_manual_clock, async {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_clock(clock.clone()).build();
    StoreUnderTest::new(store.clone())
        .with_peer(store)
        .with_advance(move |by| clock.advance(by))
        .with_rounds(5_000)
});

roomz_webhook::store_contract!(with_real_clock, async {
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

/// With TinyLFU, the default policy of moka, this test fails: a full cache rejects new ids.
#[tokio::test]
async fn full_store_remembers_newest_ids() {
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
    assert!(store.evicted_early() > u64::from(capacity as u32) * 3, "{} evictions", store.evicted_early());
}

#[tokio::test]
async fn never_evicts_live_claim() {
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

/// The owner of an evicted claim can still settle it.
#[tokio::test]
async fn evicts_claims_with_expired_lease() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_max_in_flight(2).with_clock(clock.clone()).build();
    let (expired, live) = (Owner::random(), Owner::random());
    assert_eq!(claim(&store, 1, expired).await, Ok(ClaimState::claimed(1)));
    clock.advance(LEASE / 2);
    assert_eq!(claim(&store, 2, live).await, Ok(ClaimState::claimed(1)));
    assert_eq!(claim(&store, 3, live).await, Err(StoreErrorKind::Full));
    clock.advance(LEASE / 2);
    assert_eq!(claim(&store, 3, live).await, Ok(ClaimState::claimed(1)));
    assert_eq!(claim(&store, 4, live).await, Err(StoreErrorKind::Full), "the two other claims are live");
    assert_eq!(complete(&store, 1, expired).await, Settled::Applied, "not taken over");
    assert_eq!(claim(&store, 1, live).await, Ok(ClaimState::Done));
    assert_eq!(release(&store, 2, live).await, Settled::Applied);
    assert_eq!(claim(&store, 2, expired).await, Ok(ClaimState::claimed(2)));
}

#[tokio::test]
async fn owner_renews_and_releases_evicted_claim() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_max_in_flight(2).with_clock(clock.clone()).build();
    let (owner, other) = (Owner::random(), Owner::random());
    for number in [1, 2] {
        assert_eq!(claim(&store, number, owner).await, Ok(ClaimState::claimed(1)));
    }
    clock.advance(LEASE);
    assert_eq!(claim(&store, 3, other).await, Ok(ClaimState::claimed(1)), "evicts both");
    let renewed = IdempotencyStore::renew(&store, &key(1), owner, LEASE).await.unwrap();
    assert_eq!(renewed, Settled::Applied);
    assert_eq!(claim(&store, 1, other).await, Ok(ClaimState::in_flight(LEASE)));
    let not_owner = IdempotencyStore::renew(&store, &key(2), other, LEASE).await.unwrap();
    assert_eq!(not_owner, Settled::Lost);
    assert_eq!(release(&store, 2, owner).await, Settled::Applied);
    assert_eq!(release(&store, 2, owner).await, Settled::Lost, "already released");
    assert_eq!(release(&store, 3, other).await, Settled::Applied);
    assert_eq!(claim(&store, 2, other).await, Ok(ClaimState::claimed(2)));
}

#[tokio::test]
async fn takeover_of_evicted_claim_is_attempt_two() {
    let clock = ManualClock::new();
    let store = MokaStore::builder().with_max_in_flight(1).with_clock(clock.clone()).build();
    let first = Owner::random();
    assert_eq!(claim(&store, 1, first).await, Ok(ClaimState::claimed(1)));
    clock.advance(LEASE);
    let other = Owner::random();
    assert_eq!(claim(&store, 2, other).await, Ok(ClaimState::claimed(1)));
    assert_eq!(complete(&store, 2, other).await, Settled::Applied);
    assert_eq!(claim(&store, 1, first).await, Ok(ClaimState::claimed(1)), "repeated by its owner");
    clock.advance(LEASE);
    assert_eq!(claim(&store, 1, other).await, Ok(ClaimState::claimed(2)));
    assert_eq!(complete(&store, 1, first).await, Settled::Lost);
}

/// The store uses monotonic time only.
#[tokio::test]
async fn calendar_jump_does_not_move_lease() {
    #[derive(Debug)]
    struct JumpingClock(std::sync::atomic::AtomicI64);
    impl roomz_webhook::Clock for JumpingClock {
        fn now(&self) -> roomz_protocol::Timestamp {
            let jump = self.0.fetch_add(1_000_000, std::sync::atomic::Ordering::SeqCst);
            roomz_protocol::Timestamp::from_second(jump).unwrap()
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }
    let store = MokaStore::builder().with_clock(JumpingClock(0.into())).build();
    assert_eq!(claim(&store, 1, Owner::random()).await, Ok(ClaimState::claimed(1)));
    for _ in 0..10 {
        let state = claim(&store, 1, Owner::random()).await;
        assert_eq!(state, Ok(ClaimState::in_flight(LEASE)));
    }
}

#[tokio::test]
async fn clones_share_claims() {
    let store = MokaStore::new();
    assert_eq!(claim(&store, 1, Owner::random()).await, Ok(ClaimState::claimed(1)));
    assert!(matches!(claim(&store.clone(), 1, Owner::random()).await, Ok(ClaimState::InFlight { .. })));
}
