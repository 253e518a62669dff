use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, MokaStore, Owner, Settled, StoreError,
};

/// An operation of a store.
#[allow(clippy::exhaustive_enums)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `claim`
    Claim,
    /// `renew`
    Renew,
    /// `complete`
    Complete,
    /// `release`
    Release,
}

/// How an operation goes wrong.
#[allow(clippy::exhaustive_enums)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was written.
    Fails,
    /// It never answers, and nothing was written.
    Hangs,
    /// It was written, and the reply got lost: an error.
    WrittenButFails,
    /// It was written, and the reply never comes.
    WrittenButHangs,
    /// It is written so much later, and the reply never comes. Of claims only.
    WrittenLate(Duration),
    /// It panics.
    Panics,
    /// There is no room.
    Full,
}

/// The moka store, watched, and broken on demand.
#[derive(Clone, Debug)]
pub struct SpyStore {
    inner: MokaStore,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<Op, usize>,
    faults: HashMap<Op, (Fault, usize)>,
}

impl SpyStore {
    /// Watches this store.
    pub fn new(inner: MokaStore) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// How often the operation was asked for.
    pub fn calls(&self, op: Op) -> usize {
        self.state.lock().unwrap().calls.get(&op).copied().unwrap_or_default()
    }

    /// How often anything was asked for.
    pub fn all_calls(&self) -> usize {
        self.state.lock().unwrap().calls.values().sum()
    }

    /// Lets the next so many of these operations go wrong.
    pub fn break_next(&self, op: Op, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.insert(op, (fault, times));
    }

    fn fault(&self, op: Op) -> Option<(Fault, usize)> {
        self.state.lock().unwrap().faults.get(&op).copied()
    }

    /// Lets operations go right again.
    pub fn mend(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    async fn run<T>(
        &self,
        op: Op,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.state.lock().unwrap();
            *state.calls.entry(op).or_default() += 1;
            match state.faults.get_mut(&op) {
                Some((fault, times)) if *times > 0 => {
                    *times -= 1;
                    Some(*fault)
                }
                _ => None,
            }
        };
        match fault {
            None => operation.await,
            Some(Fault::Fails) => Err(StoreError::unavailable("broken on purpose")),
            Some(Fault::Hangs | Fault::WrittenLate(_)) => std::future::pending().await,
            Some(Fault::Full) => Err(StoreError::full()),
            Some(Fault::Panics) => panic!("on purpose"),
            Some(Fault::WrittenButFails) => {
                let _ = operation.await;
                Err(StoreError::unavailable("reply lost on purpose"))
            }
            Some(Fault::WrittenButHangs) => {
                let _ = operation.await;
                std::future::pending().await
            }
        }
    }
}

#[async_trait]
impl IdempotencyStore for SpyStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        if let Some((Fault::WrittenLate(delay), 1)) = self.fault(Op::Claim) {
            let (inner, key, claim) = (self.inner.clone(), key.clone(), *claim);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = IdempotencyStore::claim(&inner, &key, &claim).await;
            });
        }
        self.run(Op::Claim, IdempotencyStore::claim(&self.inner, key, claim)).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.run(Op::Renew, IdempotencyStore::renew(&self.inner, key, owner, lease)).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.run(Op::Complete, IdempotencyStore::complete(&self.inner, key, owner, retention)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.run(Op::Release, IdempotencyStore::release(&self.inner, key, owner)).await
    }
}
