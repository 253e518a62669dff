use tokio::time::Instant;

use crate::store::{ClaimKey, ClaimRequest};

/// A claim that this process holds and must complete or release.
#[derive(Clone, Debug)]
pub(crate) struct HeldClaim {
    pub(crate) key: ClaimKey,
    pub(crate) request: ClaimRequest,
    pub(crate) attempt: u32,
    /// When the store was called. The lease ends one lease after this time, or a little later.
    pub(crate) claimed_at: Instant,
    /// The store did not reply to the claim, so the store may hold it or not.
    pub(crate) unconfirmed: bool,
}
