use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roomz_protocol::{EventId, Uuid};

use crate::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner, Settled, StoreError,
};
use crate::testing::store_under_test::StoreUnderTest;

pub(super) const LONG: Duration = Duration::from_secs(60 * 60);

pub(super) const BODY: &[u8] = b"the body";

pub(super) const OTHER_BODY: &[u8] = b"another body";

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
        Self { stores: subject.stores(), turn: Arc::default(), key: ClaimKey::new(namespace.into(), id) }
    }

    /// Returns the next instance.
    pub(super) fn store(&self) -> &dyn IdempotencyStore {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.stores.len();
        match self.stores.get(turn) {
            Some(store) => store,
            None => panic!("no store was given"),
        }
    }

    pub(super) async fn claim_kept(&self, owner: Owner, lease: Duration, retention: Duration) -> ClaimState {
        let request = ClaimRequest::new(owner, Fingerprint::of(BODY), lease, retention);
        expect_reply("claim", self.store().claim(&self.key, &request)).await.state
    }

    pub(super) async fn claim_body(&self, owner: Owner, body: &[u8], lease: Duration) -> (ClaimState, bool) {
        let request = ClaimRequest::new(owner, Fingerprint::of(body), lease, LONG);
        let claim = expect_reply("claim", self.store().claim(&self.key, &request)).await;
        (claim.state, claim.fingerprint_matches)
    }

    pub(super) async fn claim_for(&self, owner: Owner, lease: Duration) -> ClaimState {
        let (state, matches) = self.claim_body(owner, BODY, lease).await;
        assert!(matches, "the fingerprint is the same, but was reported as a mismatch");
        state
    }

    pub(super) async fn claim(&self, owner: Owner) -> ClaimState {
        self.claim_for(owner, LONG).await
    }

    /// Claims for a new owner.
    pub(super) async fn state(&self) -> ClaimState {
        self.claim(Owner::random()).await
    }

    pub(super) async fn renew(&self, owner: Owner, lease: Duration) -> Reply {
        let settled = expect_reply("renew", self.store().renew(&self.key, owner, lease)).await;
        Reply { operation: "renew", settled }
    }

    pub(super) async fn complete(&self, owner: Owner) -> Reply {
        let settled = expect_reply("complete", self.store().complete(&self.key, owner, LONG)).await;
        Reply { operation: "complete", settled }
    }

    pub(super) async fn release(&self, owner: Owner) -> Reply {
        let settled = expect_reply("release", self.store().release(&self.key, owner)).await;
        Reply { operation: "release", settled }
    }

    pub(super) async fn assert_in_flight(&self) {
        let state = self.state().await;
        assert!(matches!(state, ClaimState::InFlight { .. }), "expected InFlight, found {state:?}");
    }
}

/// The result of an operation, which a failed assertion prints together with the operation's name.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    operation: &'static str,
    pub(super) settled: Settled,
}

impl PartialEq<Settled> for Reply {
    fn eq(&self, settled: &Settled) -> bool {
        self.settled == *settled
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} returned {:?}", self.operation, self.settled)
    }
}

pub(super) fn random_id() -> EventId {
    Uuid::from_bytes(Owner::random().to_bytes()).into()
}

/// Returns the store's reply. Panics when the operation fails or takes longer than any store should.
pub(super) async fn expect_reply<T>(
    operation: &str,
    reply: impl Future<Output = Result<T, StoreError>>,
) -> T {
    match tokio::time::timeout(Duration::from_secs(30), reply).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => panic!("`{operation}` failed: {error:?}"),
        Err(_) => panic!("`{operation}` did not reply in 30 s"),
    }
}

pub(super) const fn claimed(attempt: u32) -> ClaimState {
    ClaimState::Claimed { attempt }
}
