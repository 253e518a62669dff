//! `MemoryStore`: the contract for stores, and its own behaviour.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, MemoryStore, Owner, Settled,
    StoreErrorKind,
};
use roomz_webhook::testing::{ManualClock, StoreUnderTest};

const LEASE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

roomz_webhook::store_contract!(with_manual_clock, async {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().with_clock(clock.clone()).build();
    StoreUnderTest::new(store.clone())
        .with_peer(store)
        .with_advance(move |by| clock.advance(by))
        .with_rounds(5_000)
});

roomz_webhook::store_contract!(with_real_clock, async {
    StoreUnderTest::new(MemoryStore::new()).with_rounds(100)
});

fn key(number: u128) -> ClaimKey {
    ClaimKey::new("test".into(), roomz_protocol::Uuid::from_u128(number).into())
}

async fn claim(store: &MemoryStore, number: u128, owner: Owner) -> Result<ClaimState, StoreErrorKind> {
    let request = ClaimRequest::new(owner, Fingerprint::of(b""), LEASE, RETENTION);
    IdempotencyStore::claim(store, &key(number), &request)
        .await
        .map(|claim| claim.state)
        .map_err(|e| e.kind())
}

async fn complete(store: &MemoryStore, number: u128, owner: Owner) -> Settled {
    IdempotencyStore::complete(store, &key(number), owner, RETENTION).await.unwrap()
}

async fn release(store: &MemoryStore, number: u128, owner: Owner) -> Settled {
    IdempotencyStore::release(store, &key(number), owner).await.unwrap()
}

/// One shard, and two: the ids are not distributed evenly, so each shard needs room for more than its part.
#[tokio::test]
async fn full_store_remembers_newest_ids() {
    for capacity in [10_000, 40_000] {
        let store = MemoryStore::builder().with_capacity(capacity).build();
        let owner = Owner::random();
        for number in 0..u128::from(capacity) * 5 {
            assert_eq!(claim(&store, number, owner).await, Ok(ClaimState::claimed(1)));
            assert_eq!(complete(&store, number, owner).await, Settled::Applied);
        }
        for number in u128::from(capacity) * 4..u128::from(capacity) * 5 {
            assert_eq!(claim(&store, number, owner).await, Ok(ClaimState::Done), "{number}");
        }
        let evicted = store.evicted_early();
        assert!((capacity * 38 / 10..=capacity * 4).contains(&evicted), "{evicted} of {capacity}");
        assert!(claim(&store, 0, owner).await == Ok(ClaimState::claimed(1)), "the oldest id was evicted");
    }
}

/// Otherwise a redelivery to one subscription would be taken for a duplicate of another one's event.
#[tokio::test]
async fn namespaces_have_separate_ids() {
    let store = MemoryStore::new();
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b""), LEASE, RETENTION);
    for namespace in ["a", "b", "ab", ""] {
        let key = ClaimKey::new(namespace.into(), roomz_protocol::Uuid::from_u128(1).into());
        let claim = IdempotencyStore::claim(&store, &key, &request).await.unwrap();
        assert_eq!(claim.state, ClaimState::claimed(1), "{namespace}");
        assert_eq!(
            IdempotencyStore::complete(&store, &key, request.owner, RETENTION).await.unwrap(),
            Settled::Applied
        );
    }
}

/// An idle id keeps half of its owner and 20 bits of its attempt.
#[tokio::test]
async fn repeated_completion_needs_same_owner() {
    let store = MemoryStore::new();
    let (owner, other) = (Owner::random(), Owner::random());
    assert_eq!(claim(&store, 1, owner).await, Ok(ClaimState::claimed(1)));
    assert_eq!(complete(&store, 1, owner).await, Settled::Applied);
    assert_eq!(complete(&store, 1, owner).await, Settled::Applied, "repeated");
    assert_eq!(complete(&store, 1, other).await, Settled::Lost);
    assert_eq!(release(&store, 1, owner).await, Settled::Lost, "done");
}

/// The limit counts the claims of all shards, also when many threads claim at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_flight_limit_is_exact() {
    for _ in 0..50 {
        let store = MemoryStore::builder().with_max_in_flight(100).build();
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(4));
        let tasks: Vec<_> = (0..4_u128)
            .map(|task| {
                let (store, barrier) = (store.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let mut claimed = Vec::new();
                    for number in 0..50 {
                        if claim(&store, task * 1_000 + number, Owner::from_bytes([1; 16])).await.is_ok() {
                            claimed.push(task * 1_000 + number);
                        }
                    }
                    claimed
                })
            })
            .collect();
        let mut claimed = Vec::new();
        for task in tasks {
            claimed.extend(task.await.unwrap());
        }
        assert_eq!(claimed.len(), 100);
        for number in claimed {
            assert_eq!(complete(&store, number, Owner::from_bytes([1; 16])).await, Settled::Applied);
        }
        for number in 10_000..10_100 {
            assert!(claim(&store, number, Owner::random()).await.is_ok());
        }
        assert_eq!(claim(&store, 10_100, Owner::random()).await, Err(StoreErrorKind::Full));
    }
}

#[tokio::test]
async fn never_evicts_live_claim() {
    let store = MemoryStore::builder().with_capacity(10).with_max_in_flight(100).build();
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
    let store = MemoryStore::builder().with_max_in_flight(2).with_clock(clock.clone()).build();
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
    let store = MemoryStore::builder().with_max_in_flight(2).with_clock(clock.clone()).build();
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
    let store = MemoryStore::builder().with_max_in_flight(1).with_clock(clock.clone()).build();
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
    let store = MemoryStore::builder().with_clock(JumpingClock(0.into())).build();
    assert_eq!(claim(&store, 1, Owner::random()).await, Ok(ClaimState::claimed(1)));
    for _ in 0..10 {
        let state = claim(&store, 1, Owner::random()).await;
        assert_eq!(state, Ok(ClaimState::in_flight(LEASE)));
    }
}

#[tokio::test]
async fn clones_share_claims() {
    let store = MemoryStore::new();
    assert_eq!(claim(&store, 1, Owner::random()).await, Ok(ClaimState::claimed(1)));
    assert!(matches!(claim(&store.clone(), 1, Owner::random()).await, Ok(ClaimState::InFlight { .. })));
}

/// It may exceed the limit, because its owner runs a handler. Otherwise its settlement would be counted twice.
#[tokio::test]
async fn renewed_claim_counts_as_in_flight() {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().with_max_in_flight(1).with_clock(clock.clone()).build();
    let (owner, other) = (Owner::random(), Owner::random());
    assert_eq!(claim(&store, 1, owner).await, Ok(ClaimState::claimed(1)));
    clock.advance(LEASE);
    assert_eq!(claim(&store, 2, other).await, Ok(ClaimState::claimed(1)), "evicts the first claim");
    let renewed = IdempotencyStore::renew(&store, &key(1), owner, LEASE).await.unwrap();
    assert_eq!(renewed, Settled::Applied);
    assert_eq!(complete(&store, 2, other).await, Settled::Applied);
    assert_eq!(claim(&store, 3, other).await, Err(StoreErrorKind::Full), "the first claim is live");
    assert_eq!(complete(&store, 1, owner).await, Settled::Applied);
    assert_eq!(claim(&store, 3, other).await, Ok(ClaimState::claimed(1)));
    assert_eq!(claim(&store, 4, other).await, Err(StoreErrorKind::Full));
}

#[tokio::test]
async fn completing_evicted_claim_evicts_no_other() {
    let clock = ManualClock::new();
    let builder = MemoryStore::builder().with_capacity(2).with_max_in_flight(1);
    let store = builder.with_clock(clock.clone()).build();
    let owner = Owner::random();
    assert_eq!(claim(&store, 1, owner).await, Ok(ClaimState::claimed(1)));
    assert_eq!(complete(&store, 1, owner).await, Settled::Applied);
    assert_eq!(claim(&store, 2, owner).await, Ok(ClaimState::claimed(1)));
    clock.advance(LEASE);
    assert_eq!(claim(&store, 3, owner).await, Ok(ClaimState::claimed(1)), "evicts the second claim");
    assert_eq!(complete(&store, 2, owner).await, Settled::Applied);
    assert_eq!(claim(&store, 1, owner).await, Ok(ClaimState::Done));
}
