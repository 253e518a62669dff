use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::store::{ClaimKey, ClaimRequest};

/// A claim that this process holds and must complete or release. The [`Delivery`](crate::Delivery) shares it.
#[derive(Debug)]
pub(crate) struct HeldClaim {
    pub(crate) key: ClaimKey,
    pub(crate) request: ClaimRequest,
    pub(crate) attempt: u32,
    /// When the store was called. The lease ends one lease after this time, or a little later.
    pub(crate) claimed_at: Instant,
    /// The layer failed open, so the attempt is not known.
    pub(crate) failed_open: bool,
    /// The store did not reply to the last claim, so the store may hold it or not.
    unconfirmed: AtomicBool,
    /// Another delivery holds the claim or handled the event, or the lease ceiling is reached.
    lost: AtomicBool,
}

impl HeldClaim {
    /// `attempt` is `None` if the store did not reply to the claim.
    pub(crate) fn new(
        key: ClaimKey,
        request: ClaimRequest,
        attempt: Option<u32>,
        claimed_at: Instant,
    ) -> Self {
        let failed_open = attempt.is_none();
        let (unconfirmed, lost) = (AtomicBool::new(failed_open), AtomicBool::new(false));
        Self { key, request, attempt: attempt.unwrap_or(1), claimed_at, failed_open, unconfirmed, lost }
    }

    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::SeqCst)
    }

    pub(crate) fn set_unconfirmed(&self, unconfirmed: bool) {
        self.unconfirmed.store(unconfirmed, Ordering::SeqCst);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    pub(crate) fn set_lost(&self) {
        self.lost.store(true, Ordering::SeqCst);
    }
}
