use std::time::Duration;

use super::held::HeldClaim;
use crate::config::IdReusePolicy;
use crate::state::Shared;
use crate::store::{ClaimRequest, ClaimState, OwnerUpdate, Settled, StoreError};

/// Whether this process holds the claim after [`reclaim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reclaimed {
    /// It does. Above the attempt of the claim, others claimed the event meanwhile and released it.
    Held { attempt: u32 },
    /// Another delivery holds the claim.
    InFlight,
    /// The event is done. This owner completed it, for example in a transaction of the handler.
    Completed,
    /// The event is done. Another delivery completed it.
    Done,
    /// The record belongs to another body, whose event was not handled. It was released again.
    OtherBody,
}

/// Claims the event of a running or finished handler again.
///
/// The store may have lost the claim in a restart or a failover, or it did not reply to the claim. If nobody
/// else claimed the event meanwhile, the same owner gets it again.
///
/// When the call fails or is dropped, the claim is unconfirmed: the store may have written it.
pub(crate) async fn reclaim(
    shared: &Shared,
    held: &HeldClaim,
    lease: Duration,
) -> Result<Reclaimed, StoreError> {
    let (config, owner) = (&shared.config, held.request.owner);
    let was_unconfirmed = held.is_unconfirmed();
    held.set_unconfirmed(true);
    let request = ClaimRequest { lease, ..held.request };
    let claim = config.store.claim(&held.key, &request).await?;
    let (reclaimed, is_unconfirmed) = match claim.state {
        ClaimState::InFlight { .. } => (Reclaimed::InFlight, was_unconfirmed),
        ClaimState::Done => {
            // Only the owner that completed the event can complete it again, which changes nothing.
            match config.store.update(&held.key, owner, held.completion()).await? {
                Settled::Applied => (Reclaimed::Completed, false),
                Settled::Lost => (Reclaimed::Done, was_unconfirmed),
            }
        }
        ClaimState::Claimed { .. }
            if !claim.fingerprint_matches && config.id_reuse_policy == IdReusePolicy::Reject =>
        {
            let _ = config.store.update(&held.key, owner, OwnerUpdate::Release).await?;
            (Reclaimed::OtherBody, was_unconfirmed)
        }
        ClaimState::Claimed { attempt } => (Reclaimed::Held { attempt }, false),
    };
    held.set_unconfirmed(is_unconfirmed);
    Ok(reclaimed)
}
