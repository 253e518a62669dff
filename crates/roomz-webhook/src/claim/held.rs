use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use crate::store::{ClaimKey, ClaimRequest};

/// A claim that this process holds and must complete or release.
#[derive(Debug)]
pub(crate) struct HeldClaim {
    pub(crate) key: ClaimKey,
    pub(crate) request: ClaimRequest,
    pub(crate) attempt: u32,
    /// When the store was called. The lease ends one lease after this time, or a little later.
    pub(crate) claimed_at: Instant,
    /// The store did not reply to the claim, so the store may hold it or not.
    unconfirmed: AtomicBool,
}

impl HeldClaim {
    pub(crate) const fn new(
        key: ClaimKey,
        request: ClaimRequest,
        attempt: u32,
        claimed_at: Instant,
        unconfirmed: bool,
    ) -> Self {
        Self { key, request, attempt, claimed_at, unconfirmed: AtomicBool::new(unconfirmed) }
    }

    pub(crate) fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::SeqCst)
    }

    pub(crate) fn set_unconfirmed(&self, unconfirmed: bool) {
        self.unconfirmed.store(unconfirmed, Ordering::SeqCst);
    }
}
