//! `MokaStore` and `CompactStore`: what both do beyond the contract for stores.

use std::sync::Arc;
use std::time::Duration;

use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, CompactStore, Fingerprint, IdempotencyStore, MokaStore, Owner,
    Settled, StoreErrorKind,
};
use roomz_webhook::testing::ManualClock;

const LEASE: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A store in memory of either kind.
#[derive(Clone)]
struct InMemory {
    store: Arc<dyn IdempotencyStore>,
    evicted_early: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Creates one store of each kind.
fn stores(capacity: u64, max_in_flight: usize, clock: &ManualClock) -> [InMemory; 2] {
    let moka = MokaStore::builder().with_capacity(capacity).with_max_in_flight(max_in_flight);
    let moka = moka.with_clock(clock.clone()).build();
    let compact = CompactStore::builder().with_capacity(capacity).with_max_in_flight(max_in_flight);
    let compact = compact.with_clock(clock.clone()).build();
    [
        InMemory { store: Arc::new(moka.clone()), evicted_early: Arc::new(move || moka.evicted_early()) },
        InMemory {
            store: Arc::new(compact.clone()),
            evicted_early: Arc::new(move || compact.evicted_early()),
        },
    ]
}

impl InMemory {
    async fn claim(&self, number: u128, owner: Owner) -> Result<ClaimState, StoreErrorKind> {
        let request = ClaimRequest::new(owner, Fingerprint::of(b""), LEASE, RETENTION);
        self.store
            .claim(&key("test", number), &request)
            .await
            .map(|claim| claim.state)
            .map_err(|error| error.kind())
    }

    async fn renew(&self, number: u128, owner: Owner) -> Settled {
        self.store.renew(&key("test", number), owner, LEASE).await.unwrap()
    }

    async fn complete(&self, number: u128, owner: Owner) -> Settled {
        self.complete_for(number, owner, RETENTION).await
    }

    async fn complete_for(&self, number: u128, owner: Owner, retention: Duration) -> Settled {
        self.store.complete(&key("test", number), owner, retention).await.unwrap()
    }

    async fn release(&self, number: u128, owner: Owner) -> Settled {
        self.store.release(&key("test", number), owner).await.unwrap()
    }

    /// Claims and completes new events.
    async fn handle(&self, numbers: std::ops::Range<u128>, retention: Duration) {
        let owner = Owner::random();
        for number in numbers {
            assert_eq!(self.claim(number, owner).await, Ok(ClaimState::claimed(1)), "{number}");
            assert_eq!(self.complete_for(number, owner, retention).await, Settled::Applied);
        }
    }

    async fn assert_done(&self, numbers: std::ops::Range<u128>) {
        for number in numbers {
            assert_eq!(self.claim(number, Owner::random()).await, Ok(ClaimState::Done), "{number}");
        }
    }
}

fn key(namespace: &str, number: u128) -> ClaimKey {
    ClaimKey::new(namespace.into(), roomz_protocol::Uuid::from_u128(number).into())
}

/// One shard, and two: the ids are not distributed evenly, so each shard needs room for more than its part.
#[tokio::test]
async fn full_store_remembers_newest_ids() {
    for (capacity, times) in [(10_000, 5), (270_000, 2)] {
        for store in stores(capacity, 100, &ManualClock::new()) {
            let total = u128::from(capacity * times);
            store.handle(0..total, RETENTION).await;
            store.assert_done(total - u128::from(capacity)..total).await;
            let evicted = (store.evicted_early)();
            let room = capacity * times - evicted;
            assert!((capacity..=capacity * 12 / 10).contains(&room), "room for {room} of {capacity}");
            assert_eq!(store.claim(0, Owner::random()).await, Ok(ClaimState::claimed(1)), "evicted");
        }
    }
}

/// A store that has room for the ids of one retention never fills up.
#[tokio::test]
async fn expired_ids_make_room() {
    let (clock, minutes) = (ManualClock::new(), Duration::from_secs(15 * 60));
    for store in stores(1_000, 100, &clock) {
        for batch in 0..5 {
            store.handle(batch * 1_000..(batch + 1) * 1_000, minutes).await;
            store.assert_done(batch * 1_000..(batch + 1) * 1_000).await;
            clock.advance(minutes);
        }
        assert_eq!((store.evicted_early)(), 0);
        store.handle(0..1_001, minutes).await;
        assert_eq!((store.evicted_early)(), 1);
    }
}

/// At most 900 ids are remembered at a time, but memory is freed later.
#[tokio::test]
async fn evicted_expired_ids_are_not_early() {
    let (clock, minutes) = (ManualClock::new(), Duration::from_secs(15 * 60));
    for store in stores(2, 100, &clock) {
        store.handle(0..2, LEASE).await;
        clock.advance(LEASE);
        store.handle(2..3, LEASE).await;
        assert_eq!((store.evicted_early)(), 0, "the others expire now");
    }
    for store in stores(1_000, 100, &clock) {
        for second in 0..2_400 {
            store.handle(second..second + 1, minutes).await;
            clock.advance(Duration::from_secs(1));
        }
        assert_eq!((store.evicted_early)(), 0);
        store.assert_done(1_501..2_400).await;
    }
}

/// An id that is settled again is one id, also if it was evicted meanwhile.
#[tokio::test]
async fn counts_each_early_eviction() {
    for store in stores(10, 10, &ManualClock::new()) {
        let owner = Owner::random();
        for attempt in 1..=20 {
            assert_eq!(store.claim(0, owner).await, Ok(ClaimState::claimed(attempt)));
            assert_eq!(store.release(0, owner).await, Settled::Applied);
        }
        store.handle(1..10, RETENTION).await;
        assert_eq!((store.evicted_early)(), 0);
        assert_eq!(store.claim(0, owner).await, Ok(ClaimState::claimed(21)));
        // Enough for moka to evict the record of the claimed id. It does so some ids at a time.
        store.handle(10..1_000, RETENTION).await;
        assert_eq!((store.evicted_early)(), 990);
        assert_eq!(store.complete(0, owner).await, Settled::Applied);
        assert_eq!((store.evicted_early)(), 991);
    }
}

/// In the millisecond in which its retention and its lease have ended.
#[tokio::test]
async fn record_expires_on_time() {
    let (clock, millisecond) = (ManualClock::new(), Duration::from_millis(1));
    for store in stores(10, 10, &clock) {
        store.handle(1..2, LEASE).await;
        let owner = Owner::random();
        let request = ClaimRequest::new(owner, Fingerprint::of(b""), LEASE, LEASE / 2);
        assert_eq!(store.store.claim(&key("test", 2), &request).await.unwrap().state, ClaimState::claimed(1));
        clock.advance(LEASE - millisecond);
        store.assert_done(1..2).await;
        assert_eq!(store.claim(2, Owner::random()).await, Ok(ClaimState::in_flight(millisecond)));
        clock.advance(millisecond);
        for number in [1, 2] {
            assert_eq!(store.claim(number, Owner::random()).await, Ok(ClaimState::claimed(1)), "{number}");
        }
    }
}

/// Otherwise a redelivery to one subscription would be taken for a duplicate of another one's event.
#[tokio::test]
async fn namespaces_have_separate_ids() {
    for InMemory { store, .. } in stores(1_000, 100, &ManualClock::new()) {
        let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b""), LEASE, RETENTION);
        for namespace in ["a", "b", "ab", ""] {
            let key = key(namespace, 1);
            let claim = store.claim(&key, &request).await.unwrap();
            assert_eq!(claim.state, ClaimState::claimed(1), "{namespace}");
            assert_eq!(store.complete(&key, request.owner, RETENTION).await.unwrap(), Settled::Applied);
        }
    }
}

/// An id keeps 64 bits of its owner.
#[tokio::test]
async fn repeated_completion_needs_same_owner() {
    for store in stores(1_000, 100, &ManualClock::new()) {
        let (owner, other) = (Owner::random(), Owner::random());
        assert_eq!(store.claim(1, owner).await, Ok(ClaimState::claimed(1)));
        assert_eq!(store.complete(1, owner).await, Settled::Applied);
        assert_eq!(store.complete(1, owner).await, Settled::Applied, "repeated");
        assert_eq!(store.complete(1, other).await, Settled::Lost);
        assert_eq!(store.release(1, owner).await, Settled::Lost, "done");
    }
}

/// An owner need not be random in all of its bits.
#[tokio::test]
async fn compares_every_bit_of_owner() {
    for store in stores(1_000, 1_000, &ManualClock::new()) {
        for bit in 0..128 {
            let owner = |bits: u128| Owner::from_bytes(bits.to_be_bytes());
            assert_eq!(store.claim(bit, owner(0)).await, Ok(ClaimState::claimed(1)));
            let other = owner(1 << bit);
            assert_eq!(store.claim(bit, other).await, Ok(ClaimState::in_flight(LEASE)), "bit {bit}");
            assert_eq!(store.complete(bit, other).await, Settled::Lost, "bit {bit}");
        }
    }
}

/// The limit counts the claims of all shards, also when many threads claim at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_flight_limit_is_exact() {
    let owner = Owner::from_bytes([1; 16]);
    for round in 0..100 {
        let [moka, compact] = stores(1_000_000, 100, &ManualClock::new());
        let store = if round % 2 == 0 { moka } else { compact };
        let barrier = Arc::new(tokio::sync::Barrier::new(4));
        let tasks: Vec<_> = (0..4_u128)
            .map(|task| {
                let (store, barrier) = (store.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let mut claimed = Vec::new();
                    for number in task * 1_000..task * 1_000 + 50 {
                        if store.claim(number, owner).await.is_ok() {
                            claimed.push(number);
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
            assert_eq!(store.complete(number, owner).await, Settled::Applied);
        }
        for number in 10_000..10_100 {
            assert!(store.claim(number, Owner::random()).await.is_ok());
        }
        assert_eq!(store.claim(10_100, Owner::random()).await, Err(StoreErrorKind::Full));
    }
}

/// A full store forgets done ids, and no live claim.
#[tokio::test]
async fn never_evicts_live_claim() {
    for store in stores(10, 100, &ManualClock::new()) {
        let owners: Vec<_> = (0..99).map(|_| Owner::random()).collect();
        for (number, owner) in (0..).zip(&owners) {
            assert_eq!(store.claim(number, *owner).await, Ok(ClaimState::claimed(1)));
        }
        store.handle(1_000..6_000, RETENTION).await;
        assert_eq!(store.claim(999, Owner::random()).await, Ok(ClaimState::claimed(1)));
        assert_eq!(store.claim(1_000, Owner::random()).await, Err(StoreErrorKind::Full));
        for (number, owner) in (0..).zip(&owners) {
            assert_eq!(store.claim(number, Owner::random()).await, Ok(ClaimState::in_flight(LEASE)));
            assert_eq!(store.complete(number, *owner).await, Settled::Applied);
        }
        assert_eq!(store.claim(1_000, Owner::random()).await, Ok(ClaimState::claimed(1)));
    }
}

/// The owner of an evicted claim can still settle it.
#[tokio::test]
async fn evicts_claims_with_expired_lease() {
    let clock = ManualClock::new();
    for store in stores(1_000, 2, &clock) {
        let (expired, live) = (Owner::random(), Owner::random());
        assert_eq!(store.claim(1, expired).await, Ok(ClaimState::claimed(1)));
        clock.advance(LEASE / 2);
        assert_eq!(store.claim(2, live).await, Ok(ClaimState::claimed(1)));
        assert_eq!(store.claim(3, live).await, Err(StoreErrorKind::Full));
        clock.advance(LEASE * 3 / 4);
        assert_eq!(store.claim(3, live).await, Ok(ClaimState::claimed(1)));
        assert_eq!(store.claim(4, live).await, Err(StoreErrorKind::Full), "the two other claims are live");
        assert_eq!(store.complete(1, expired).await, Settled::Applied, "not taken over");
        assert_eq!(store.claim(1, live).await, Ok(ClaimState::Done));
        assert_eq!(store.release(2, live).await, Settled::Applied);
        assert_eq!(store.claim(2, expired).await, Ok(ClaimState::claimed(2)));
    }
}

#[tokio::test]
async fn owner_renews_and_releases_evicted_claim() {
    let clock = ManualClock::new();
    for store in stores(1_000, 2, &clock) {
        let (owner, other) = (Owner::random(), Owner::random());
        for number in [1, 2] {
            assert_eq!(store.claim(number, owner).await, Ok(ClaimState::claimed(1)));
        }
        clock.advance(LEASE);
        assert_eq!(store.claim(3, other).await, Ok(ClaimState::claimed(1)), "evicts both");
        assert_eq!(store.renew(1, owner).await, Settled::Applied);
        assert_eq!(store.claim(1, other).await, Ok(ClaimState::in_flight(LEASE)));
        assert_eq!(store.renew(2, other).await, Settled::Lost);
        assert_eq!(store.release(2, owner).await, Settled::Applied);
        assert_eq!(store.release(2, owner).await, Settled::Lost, "already released");
        assert_eq!(store.release(3, other).await, Settled::Applied);
        assert_eq!(store.claim(2, other).await, Ok(ClaimState::claimed(2)));
    }
}

#[tokio::test]
async fn takeover_of_evicted_claim_is_attempt_two() {
    let clock = ManualClock::new();
    for store in stores(1_000, 1, &clock) {
        let first = Owner::random();
        assert_eq!(store.claim(1, first).await, Ok(ClaimState::claimed(1)));
        clock.advance(LEASE);
        let other = Owner::random();
        assert_eq!(store.claim(2, other).await, Ok(ClaimState::claimed(1)));
        assert_eq!(store.complete(2, other).await, Settled::Applied);
        assert_eq!(store.claim(1, first).await, Ok(ClaimState::claimed(1)), "repeated by its owner");
        clock.advance(LEASE);
        assert_eq!(store.claim(1, other).await, Ok(ClaimState::claimed(2)));
        assert_eq!(store.complete(1, first).await, Settled::Lost);
    }
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
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b""), LEASE, RETENTION);
    assert_eq!(store.claim(&key("test", 1), &request).await.unwrap().state, ClaimState::claimed(1));
    let other = ClaimRequest::new(Owner::random(), Fingerprint::of(b""), LEASE, RETENTION);
    for _ in 0..10 {
        let claim = store.claim(&key("test", 1), &other).await.unwrap();
        assert_eq!(claim.state, ClaimState::in_flight(LEASE));
    }
}

/// It may exceed the limit, because its owner runs a handler. Otherwise its settlement would be counted
/// twice.
#[tokio::test]
async fn renewed_claim_counts_as_in_flight() {
    let clock = ManualClock::new();
    for store in stores(1_000, 1, &clock) {
        let (owner, other) = (Owner::random(), Owner::random());
        assert_eq!(store.claim(1, owner).await, Ok(ClaimState::claimed(1)));
        clock.advance(LEASE);
        assert_eq!(store.claim(2, other).await, Ok(ClaimState::claimed(1)), "evicts the first claim");
        assert_eq!(store.renew(1, owner).await, Settled::Applied);
        assert_eq!(store.complete(2, other).await, Settled::Applied);
        assert_eq!(store.claim(3, other).await, Err(StoreErrorKind::Full), "the first claim is live");
        assert_eq!(store.complete(1, owner).await, Settled::Applied);
        assert_eq!(store.claim(3, other).await, Ok(ClaimState::claimed(1)));
        assert_eq!(store.claim(4, other).await, Err(StoreErrorKind::Full));
    }
}

#[tokio::test]
async fn completing_evicted_claim_evicts_no_other() {
    let clock = ManualClock::new();
    for store in stores(2, 1, &clock) {
        let owner = Owner::random();
        store.handle(1..2, RETENTION).await;
        assert_eq!(store.claim(2, owner).await, Ok(ClaimState::claimed(1)));
        clock.advance(LEASE);
        assert_eq!(store.claim(3, owner).await, Ok(ClaimState::claimed(1)), "evicts the second claim");
        assert_eq!(store.complete(2, owner).await, Settled::Applied);
        assert_eq!(store.claim(1, owner).await, Ok(ClaimState::Done));
        assert_eq!((store.evicted_early)(), 0);
    }
}

/// A redelivery of a released event is a new attempt, also when the store is full of newer ids.
#[tokio::test]
async fn redelivery_keeps_attempt_while_remembered() {
    for store in stores(100, 10, &ManualClock::new()) {
        for attempt in 1..=20 {
            let owner = Owner::random();
            assert_eq!(store.claim(1, owner).await, Ok(ClaimState::claimed(attempt)));
            store.handle(u128::from(attempt) * 1_000..u128::from(attempt) * 1_000 + 200, RETENTION).await;
            assert_eq!(store.release(1, owner).await, Settled::Applied);
        }
    }
}
