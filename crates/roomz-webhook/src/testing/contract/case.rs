use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomz_protocol::{EventId, Uuid};

use crate::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
};
use crate::testing::subject::Subject;

pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

pub(super) const BODY: &[u8] = b"the body";

pub(super) const OTHER_BODY: &[u8] = b"another body";

/// One event, and those who want it.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) stores: Vec<Arc<dyn IdempotencyStore>>,
    pub(super) turn: Arc<AtomicUsize>,
    pub(super) key: ClaimKey,
}

impl Case {
    pub(super) fn new(subject: &Subject) -> Self {
        Self::with_key(subject, "contract", random_id())
    }

    pub(super) fn with_key(subject: &Subject, namespace: &str, id: EventId) -> Self {
        Self { stores: subject.stores(), turn: Arc::default(), key: ClaimKey::new(namespace.into(), id) }
    }

    /// Each instance in turn.
    pub(super) fn store(&self) -> &dyn IdempotencyStore {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.stores.len();
        match self.stores.get(turn) {
            Some(store) => store,
            None => panic!("there is no store"),
        }
    }

    pub(super) async fn claim_kept(&self, owner: Owner, lease: Duration, retention: Duration) -> ClaimState {
        let request = ClaimRequest::new(owner, Fingerprint::of(BODY), lease, retention);
        answer("claim", self.store().claim(&self.key, &request)).await.state
    }

    pub(super) async fn claim_body(&self, owner: Owner, body: &[u8], lease: Duration) -> (ClaimState, bool) {
        let request = ClaimRequest::new(owner, Fingerprint::of(body), lease, LONG);
        let claim = answer("claim", self.store().claim(&self.key, &request)).await;
        (claim.state, claim.fingerprint_matches)
    }

    pub(super) async fn claim_for(&self, owner: Owner, lease: Duration) -> ClaimState {
        let (state, matches) = self.claim_body(owner, BODY, lease).await;
        assert!(matches, "the body is the same, but was marked as another");
        state
    }

    pub(super) async fn claim(&self, owner: Owner) -> ClaimState {
        self.claim_for(owner, LONG).await
    }

    /// What somebody new is told.
    pub(super) async fn state(&self) -> ClaimState {
        self.claim(Owner::random()).await
    }

    pub(super) async fn renew(&self, owner: Owner, lease: Duration) -> Settled {
        answer("renew", self.store().renew(&self.key, owner, lease)).await
    }

    pub(super) async fn complete(&self, owner: Owner) -> Settled {
        answer("complete", self.store().complete(&self.key, owner, LONG)).await
    }

    pub(super) async fn release(&self, owner: Owner) -> Settled {
        answer("release", self.store().release(&self.key, owner)).await
    }

    pub(super) async fn assert_in_flight(&self) {
        let state = self.state().await;
        assert!(matches!(state, ClaimState::InFlight { .. }), "expected InFlight, found {state:?}");
    }
}

pub(super) fn random_id() -> EventId {
    Uuid::from_bytes(Owner::random().to_bytes()).into()
}

/// What the store answers, in a time that no store needs.
pub(super) async fn answer<T>(operation: &str, asked: impl Future<Output = Result<T, StoreError>>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("`{operation}` failed: {error:?}"),
        Err(_) => panic!("`{operation}` did not answer in 30 s"),
    }
}

pub(super) const fn claimed(attempt: u32) -> ClaimState {
    ClaimState::Claimed { attempt }
}
