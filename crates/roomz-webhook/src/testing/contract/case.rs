use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomz_protocol::{EventId, Uuid};

use crate::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
    StoreErrorKind,
};
use crate::testing::store_under_test::StoreUnderTest;

pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

pub(super) const BODY: &[u8] = b"the body";

pub(super) const OTHER_BODY: &[u8] = b"another body";

/// A lease and a retention that do not end during a test.
pub(super) const KEPT: (Duration, Duration) = (LONG, LONG);

/// One event, claimed through each store instance in turn.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) stores: Vec<Arc<dyn IdempotencyStore>>,
    pub(super) turn: Arc<AtomicUsize>,
    pub(super) key: ClaimKey,
}

impl Case {
    pub(super) fn new(subject: &StoreUnderTest) -> Self {
        Self::with_key(subject, "contract", random_id())
    }

    pub(super) fn with_key(subject: &StoreUnderTest, namespace: &str, id: EventId) -> Self {
        Self {
            stores: subject.stores.clone(),
            turn: Arc::default(),
            key: ClaimKey::new(namespace.into(), id),
        }
    }

    /// Returns the next instance.
    pub(super) fn store(&self) -> &dyn IdempotencyStore {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.stores.len();
        &*self.stores[turn]
    }

    /// A case whose event a new owner has claimed with this lease and retention, as attempt 1.
    pub(super) async fn claimed(subject: &StoreUnderTest, times: (Duration, Duration)) -> (Self, Owner) {
        let (case, owner) = (Self::new(subject), Owner::random());
        assert_eq!(case.claim(owner, times).await, claimed(1));
        (case, owner)
    }

    /// Claims with a lease and a retention, and returns the state and whether the body is that of the first
    /// claim.
    pub(super) async fn claim_body(
        &self,
        owner: Owner,
        body: &[u8],
        (lease, retention): (Duration, Duration),
    ) -> (ClaimState, bool) {
        let request = ClaimRequest::new(owner, Fingerprint::of(body), lease, retention);
        let claim = expect_reply("claim", self.store().claim(&self.key, &request)).await;
        (claim.state, claim.fingerprint_matches)
    }

    pub(super) async fn claim(&self, owner: Owner, times: (Duration, Duration)) -> ClaimState {
        let (state, matches) = self.claim_body(owner, BODY, times).await;
        assert!(matches, "the fingerprint is the same, but was reported as a mismatch");
        state
    }

    /// Claims for a new owner.
    pub(super) async fn state(&self) -> ClaimState {
        self.claim(Owner::random(), KEPT).await
    }

    /// Claims a new event. Returns false if the store has no room for another live claim.
    pub(super) async fn claim_unless_full(&self, owner: Owner) -> bool {
        let request = ClaimRequest::new(owner, Fingerprint::of(BODY), LONG, LONG);
        let reply = async {
            match self.store().claim(&self.key, &request).await {
                Err(error) if error.kind() == StoreErrorKind::Full => Ok(None),
                reply => reply.map(|claim| Some(claim.state)),
            }
        };
        let state = expect_reply("claim", reply).await;
        assert!(state.is_none_or(|state| state == claimed(1)), "a new event is {state:?}");
        state.is_some()
    }

    pub(super) async fn renew(&self, owner: Owner, lease: Duration) -> Settled {
        expect_reply("renew", self.store().renew(&self.key, owner, lease)).await
    }

    pub(super) async fn complete(&self, owner: Owner, retention: Duration) -> Settled {
        expect_reply("complete", self.store().complete(&self.key, owner, retention)).await
    }

    pub(super) async fn release(&self, owner: Owner) -> Settled {
        expect_reply("release", self.store().release(&self.key, owner)).await
    }

    /// Tries each operation of an owner.
    pub(super) async fn assert_not_owner(&self, owner: Owner) {
        assert_eq!(self.renew(owner, LONG).await, Settled::Lost, "renewed");
        assert_eq!(self.complete(owner, LONG).await, Settled::Lost, "completed");
        assert_eq!(self.release(owner).await, Settled::Lost, "released");
    }

    pub(super) async fn assert_in_flight(&self) {
        assert_in_flight(self.state().await);
    }
}

pub(super) fn assert_in_flight(state: ClaimState) {
    assert!(matches!(state, ClaimState::InFlight { .. }), "expected InFlight, found {state:?}");
}

pub(super) fn random_id() -> EventId {
    EventId::from(Uuid::from_bytes(Owner::random().to_bytes()))
}

/// Returns the store's reply. Panics when the operation fails or takes longer than any store should.
async fn expect_reply<T>(operation: &str, reply: impl Future<Output = Result<T, StoreError>>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), reply).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => panic!("`{operation}` failed: {error:?}"),
        Err(_) => panic!("`{operation}` did not reply in 30 s"),
    }
}

pub(super) const fn claimed(attempt: u32) -> ClaimState {
    ClaimState::Claimed { attempt }
}
