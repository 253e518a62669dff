use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, IdempotencyStore, OwnerUpdate, Settled};
use super::key::{ClaimKey, Owner};
use super::memory::{InMemory, in_memory};
use crate::call::{Panicked, catch_panic, timeout_if_pending};
use crate::telemetry;

/// The store of a layer. The time of each operation is measured. Each operation of a store outside this
/// process has a timeout.
pub(crate) struct TimedStore {
    store: Arc<dyn IdempotencyStore>,
    /// The same store, if it is one of this crate.
    in_memory: Option<Arc<dyn InMemory>>,
    pub(crate) timeout: Duration,
}

impl TimedStore {
    pub(crate) fn new(store: impl IdempotencyStore, timeout: Duration) -> Self {
        let in_memory = in_memory(&store);
        Self { store: Arc::new(store), in_memory, timeout }
    }

    pub(crate) async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let in_memory = |store: &dyn InMemory| store.claim(key, claim);
        self.call("claim", in_memory, || (*self.store).claim(key, claim)).await
    }

    pub(crate) async fn update(
        &self,
        key: &ClaimKey,
        owner: Owner,
        update: OwnerUpdate,
    ) -> Result<Settled, StoreError> {
        let in_memory = |store: &dyn InMemory| Ok(store.update(key, owner, update));
        let call = || match update {
            OwnerUpdate::Renew { lease } => (*self.store).renew(key, owner, lease),
            OwnerUpdate::Complete { retention } => (*self.store).complete(key, owner, retention),
            OwnerUpdate::Release => (*self.store).release(key, owner),
        };
        self.call(update.name(), in_memory, call).await
    }

    /// A store that panics has failed: the delivery must still be answered and settled.
    async fn call<T, F>(
        &self,
        operation: &'static str,
        in_memory: impl FnOnce(&dyn InMemory) -> Result<T, StoreError>,
        call: impl FnOnce() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let _guard = telemetry::store_called(operation);
        let reply = if let Some(store) = &self.in_memory {
            catch_unwind(AssertUnwindSafe(|| in_memory(&**store))).map_err(|_| Panicked)
        } else {
            // The closure is called inside the future, so that a panic before the store returns its future is
            // caught too.
            let call = pin!(catch_panic(async { call().await }));
            timeout_if_pending(self.timeout, call).await.map_err(|_| StoreError::timed_out())?
        };
        reply.unwrap_or_else(|Panicked| Err(StoreError::unavailable("the store panicked")))
    }
}
