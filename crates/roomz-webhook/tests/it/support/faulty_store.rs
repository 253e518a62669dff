use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, MokaStore, Owner, Settled, StoreError,
};

use super::TokioClock;

/// An operation of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Claim,
    Renew,
    Complete,
    Release,
}

/// What happens instead of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error. Nothing is written.
    Error,
    /// No reply. Nothing is written.
    Hang,
    /// An error after the operation was applied: the reply is lost.
    AppliedThenError,
    /// No reply after the operation was applied.
    AppliedThenHang,
    /// No reply. The operation is applied after this delay. Only for `claim`.
    AppliedLate(Duration),
    /// A panic.
    Panic,
    /// The error of a full store.
    Full,
}

/// A [`MokaStore`] that counts its calls and fails on demand.
#[derive(Clone, Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<Mutex<MokaStore>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<Op, usize>,
    faults: HashMap<Op, (Fault, usize)>,
}

impl FaultyStore {
    pub(crate) fn new(inner: MokaStore) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), state: Arc::default() }
    }

    /// Replaces the data by that of another store, as a restart or a failover does.
    pub(crate) fn lose_data(&self) {
        *self.inner.lock().unwrap() = MokaStore::builder().with_clock(TokioClock::new()).build();
    }

    fn inner(&self) -> MokaStore {
        self.inner.lock().unwrap().clone()
    }

    /// How often the operation was called.
    pub(crate) fn calls(&self, op: Op) -> usize {
        self.state.lock().unwrap().calls.get(&op).copied().unwrap_or_default()
    }

    /// How often any operation was called.
    pub(crate) fn total_calls(&self) -> usize {
        self.state.lock().unwrap().calls.values().sum()
    }

    /// Makes the next `times` calls of this operation fail.
    pub(crate) fn inject(&self, op: Op, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.insert(op, (fault, times));
    }

    fn fault(&self, op: Op) -> Option<(Fault, usize)> {
        self.state.lock().unwrap().faults.get(&op).copied()
    }

    /// Removes all injected faults.
    pub(crate) fn clear_faults(&self) {
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
            Some(Fault::Error) => Err(StoreError::unavailable("injected error")),
            Some(Fault::Hang | Fault::AppliedLate(_)) => std::future::pending().await,
            Some(Fault::Full) => Err(StoreError::full()),
            Some(Fault::Panic) => panic!("injected panic"),
            Some(Fault::AppliedThenError) => {
                let _ = operation.await;
                Err(StoreError::unavailable("injected error: the reply was lost"))
            }
            Some(Fault::AppliedThenHang) => {
                let _ = operation.await;
                std::future::pending().await
            }
        }
    }
}

#[async_trait]
impl IdempotencyStore for FaultyStore {
    async fn claim(&self, key: &ClaimKey, claim: &ClaimRequest) -> Result<Claim, StoreError> {
        if let Some((Fault::AppliedLate(delay), 1)) = self.fault(Op::Claim) {
            let (inner, key, claim) = (self.inner(), key.clone(), *claim);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = IdempotencyStore::claim(&inner, &key, &claim).await;
            });
        }
        self.run(Op::Claim, IdempotencyStore::claim(&self.inner(), key, claim)).await
    }

    async fn renew(&self, key: &ClaimKey, owner: Owner, lease: Duration) -> Result<Settled, StoreError> {
        self.run(Op::Renew, IdempotencyStore::renew(&self.inner(), key, owner, lease)).await
    }

    async fn complete(
        &self,
        key: &ClaimKey,
        owner: Owner,
        retention: Duration,
    ) -> Result<Settled, StoreError> {
        self.run(Op::Complete, IdempotencyStore::complete(&self.inner(), key, owner, retention)).await
    }

    async fn release(&self, key: &ClaimKey, owner: Owner) -> Result<Settled, StoreError> {
        self.run(Op::Release, IdempotencyStore::release(&self.inner(), key, owner)).await
    }
}
