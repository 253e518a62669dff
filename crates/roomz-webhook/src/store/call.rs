use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::error::StoreError;
use super::idempotency::{Claim, ClaimRequest, IdempotencyStore, Settled};
use super::key::{ClaimKey, Owner};
use super::memory::InMemory;
use crate::call::{Panicked, catch_panic, timeout_if_pending};
use crate::telemetry::{self, Operation};

/// The store of a layer. The time of each operation is measured. Each operation of a store outside this
/// process has a timeout.
pub(crate) struct TimedStore {
    pub(crate) store: Arc<dyn IdempotencyStore>,
    pub(crate) timeout: Duration,
}

impl TimedStore {
    pub(crate) async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        let in_memory = |store: &dyn InMemory| store.claim(key, claim);
        self.call(Operation::Claim, in_memory, || (*self.store).claim(key, claim)).await
    }

    pub(crate) async fn renew(
        &self,
        key: &ClaimKey,
        owner: Owner,
        lease: Duration,
    ) -> Result<Settled, StoreError> {
        let in_memory = |store: &dyn InMemory| Ok(store.renew(key, owner, lease));
        self.call(Operation::Renew, in_memory, || (*self.store).renew(key, owner, lease)).await
    }

    pub(crate) async fn complete(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Settled, StoreError> {
        let ClaimRequest { owner, retention, .. } = *claim;
        let in_memory = |store: &dyn InMemory| Ok(store.settle(key, owner, Some(retention)));
        self.call(Operation::Complete, in_memory, || (*self.store).complete(key, owner, retention)).await
    }

    pub(crate) async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        let in_memory = |store: &dyn InMemory| Ok(store.settle(key, owner, None));
        self.call(Operation::Release, in_memory, || (*self.store).release(key, owner)).await
    }

    /// A store that panics has failed: the delivery must still be answered and settled.
    async fn call<T, F>(
        &self,
        operation: Operation,
        in_memory: impl FnOnce(&dyn InMemory) -> Result<T, StoreError>,
        call: impl FnOnce() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let _guard = telemetry::store_called(operation);
        if let Some(store) = self.store.in_memory() {
            return catch_unwind(AssertUnwindSafe(|| in_memory(store))).unwrap_or_else(|_| panicked());
        }
        // The closure is called inside the future, so that a panic before the store returns its future is
        // caught too.
        let call = pin!(catch_panic(async { call().await }));
        match timeout_if_pending(self.timeout, call).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(Panicked)) => panicked(),
            Err(_) => Err(StoreError::timed_out()),
        }
    }
}

fn panicked<T>() -> Result<T, StoreError> {
    Err(StoreError::unavailable("the store panicked"))
}
