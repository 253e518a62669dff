//! A store in memory that fails, with the clock of the schedule.

use std::sync::Arc;
use std::time::Duration;

use roomz_protocol::Timestamp;
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, MokaStore, Owner, Settled, StoreError,
};
use roomz_webhook::{Clock, SystemClock, async_trait};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::time::{Instant, sleep_until};
use workers::{one_in, yields};

#[derive(Debug)]
pub struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn monotonic(&self) -> Duration {
        Instant::now().since_start()
    }
}

/// A store that fails, is slow, hangs, executes calls late, and loses replies.
#[derive(Clone)]
pub struct FaultyStore {
    pub store: MokaStore,
    pub fails: Arc<AtomicBool>,
}

impl FaultyStore {
    async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let fails = || one_in(6) && self.fails.load(SeqCst);
        if fails() {
            return Err(StoreError::unavailable("not called"));
        }
        if fails() {
            // The store executes it late, within the time that the layer expects.
            drop(tokio::spawn(async move {
                let deadline = Instant::now() + Duration::from_secs(thread_rng().gen_range(0..4));
                sleep_until(deadline).await;
                let _hold = tokio::time::hold();
                if Instant::now() == deadline {
                    _ = call.await;
                }
            }));
            return Err(StoreError::unavailable("no reply"));
        }
        yields(4).await;
        let reply = call.await;
        yields(4).await;
        if fails() {
            std::future::pending::<()>().await;
        }
        if fails() { Err(StoreError::unavailable("the reply was lost")) } else { reply }
    }
}

#[async_trait]
impl IdempotencyStore for FaultyStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let (store, key, claim) = (self.store.clone(), key.clone(), *claim);
        self.call(async move { store.claim(&key, &claim).await }).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        let (store, key) = (self.store.clone(), key.clone());
        self.call(async move { store.renew(&key, owner, lease).await }).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        let (store, key) = (self.store.clone(), key.clone());
        self.call(async move { store.complete(&key, owner, retention).await }).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        let (store, key) = (self.store.clone(), key.clone());
        self.call(async move { store.release(&key, owner).await }).await
    }
}
