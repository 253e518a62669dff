use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::config::{Config, IdReusePolicy};
use crate::store::{ClaimKey, ClaimRequest, Fingerprint, Owner, OwnerUpdate};

/// A claim that this process holds, or tries to get. It must be completed or released. The
/// [`Delivery`](crate::Delivery) contains it.
#[derive(Debug)]
pub(crate) struct HeldClaim {
    pub(crate) key: ClaimKey,
    pub(crate) request: ClaimRequest,
    /// 0 until the store has replied.
    attempt: AtomicU32,
    /// The store did not reply to the last claim, so the store may hold it or not.
    unconfirmed: AtomicBool,
    /// Another delivery holds the claim or handled the event, or the lease ceiling is reached.
    lost: AtomicBool,
}

impl HeldClaim {
    /// Creates the claim before the store is called.
    pub(crate) fn new(config: &Config, key: ClaimKey, body: &[u8]) -> Self {
        let fingerprint = Fingerprint::of(body);
        let key = match config.id_reuse_policy {
            IdReusePolicy::Process => key.with_body(fingerprint),
            _ => key,
        };
        let request = ClaimRequest::new(Owner::random(), fingerprint, config.lease, config.retention);
        Self { key, request, attempt: 0.into(), unconfirmed: true.into(), lost: false.into() }
    }

    /// Returns a copy for a task, which must not keep the body of the delivery in memory.
    pub(crate) fn detach(&self) -> Self {
        let attempt = self.attempt.load(Ordering::SeqCst).into();
        let (unconfirmed, lost) = (self.is_unconfirmed().into(), self.is_lost().into());
        Self { key: self.key.clone(), request: self.request, attempt, unconfirmed, lost }
    }

    pub(crate) fn completion(&self) -> OwnerUpdate {
        OwnerUpdate::Complete { retention: self.request.retention }
    }

    /// The store has replied to the claim.
    pub(crate) fn confirm(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::SeqCst);
        self.set_unconfirmed(false);
    }

    /// Returns the attempt. It counts as 1 after failing open, when it is not known.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::SeqCst).max(1)
    }

    /// Returns whether the layer failed open, so that the attempt is not known.
    pub(crate) fn failed_open(&self) -> bool {
        self.attempt.load(Ordering::SeqCst) == 0
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
