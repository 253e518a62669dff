//! The contract for stores finds a store that evicts live claims, or new ids before old ones.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use moka::ops::compute::{CompResult, Op};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, CompactStore, IdempotencyStore, Owner, Settled, StoreError,
    async_trait,
};
use roomz_webhook::testing::StoreUnderTest;
use roomz_webhook::testing::contract::{full_store_keeps_live_claims, oldest_done_events_leave_first};

/// A store with live claims and done ids in one cache, which evicts both. Its claims hold a permit.
struct EvictsLiveClaims {
    cache: moka::sync::Cache<ClaimKey, (Owner, ClaimState)>,
    room: tokio::sync::Semaphore,
}

#[async_trait]
impl IdempotencyStore for EvictsLiveClaims {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let permit = self.room.try_acquire().map_err(|_| StoreError::full())?;
        let running = ClaimState::in_flight(claim.lease);
        let found = self.cache.entry(key.clone()).or_insert((claim.owner, running));
        if !found.is_fresh() {
            return Ok(Claim::new(found.into_value().1, true));
        }
        permit.forget();
        Ok(Claim::new(ClaimState::claimed(1), true))
    }

    async fn complete(&self, key: &ClaimKey, owner: Owner, _: Duration) -> Result<Settled, StoreError> {
        let completed = self.cache.entry(key.clone()).and_compute_with(|found| match found {
            Some(found) if found.value().0 == owner => Op::Put((owner, ClaimState::Done)),
            _ => Op::Nop,
        });
        self.room.add_permits(1);
        let applied = matches!(completed, CompResult::ReplacedWith(_));
        Ok(if applied { Settled::Applied } else { Settled::Lost })
    }

    async fn renew(&self, _: &ClaimKey, _: Owner, _: Duration) -> Result<Settled, StoreError> {
        unreachable!()
    }

    async fn release(&self, _: &ClaimKey, _: Owner) -> Result<Settled, StoreError> {
        unreachable!()
    }
}

/// The suite finds a store that evicts live claims: for other live claims, or with a limit, for done ids.
#[tokio::test]
async fn contract_rejects_eviction_of_live_claims() {
    for (capacity, limit, passes) in [(100, 10_000, false), (100, 80, false), (10_000, 80, true)] {
        let cache = moka::sync::Cache::builder().max_capacity(capacity);
        let cache = cache.eviction_policy(moka::policy::EvictionPolicy::lru()).build();
        let store = EvictsLiveClaims { cache, room: tokio::sync::Semaphore::new(limit) };
        let store = StoreUnderTest::new(store);
        let test = std::panic::AssertUnwindSafe(full_store_keeps_live_claims(&store)).catch_unwind().await;
        assert_eq!(test.is_ok(), passes, "capacity {capacity}, limit {limit}");
    }
}

/// A store that remembers so many done ids, and no newer ones.
struct RemembersFirst {
    inner: CompactStore,
    room: AtomicUsize,
}

#[async_trait]
impl IdempotencyStore for RemembersFirst {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        self.inner.claim(key, claim).await
    }

    async fn complete(&self, key: &ClaimKey, owner: Owner, kept: Duration) -> Result<Settled, StoreError> {
        let room = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1));
        match room {
            Ok(_) => self.inner.complete(key, owner, kept).await,
            Err(_) => self.inner.release(key, owner).await,
        }
    }

    async fn renew(&self, _: &ClaimKey, _: Owner, _: Duration) -> Result<Settled, StoreError> {
        unreachable!()
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.inner.release(key, owner).await
    }
}

/// The suite finds a store that forgets the newest ids first, and accepts one that forgets the oldest.
#[tokio::test]
async fn contract_rejects_eviction_of_newest_ids() {
    for (room, capacity, passes) in [(300, 10_000, false), (10_000, 300, true), (10_000, 10_000, true)] {
        let inner = CompactStore::builder().with_capacity(capacity).build();
        let store = StoreUnderTest::new(RemembersFirst { inner, room: AtomicUsize::new(room) });
        let test = std::panic::AssertUnwindSafe(oldest_done_events_leave_first(&store)).catch_unwind().await;
        assert_eq!(test.is_ok(), passes, "room {room}, capacity {capacity}");
    }
}
