use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::held::HeldClaim;
use crate::config::IdReusePolicy;
use crate::state::Shared;
use crate::store::{ClaimState, Settled, StoreError, call_store};
use crate::telemetry::{self, Operation};

/// The first pause before a settlement is retried.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause. Each one is twice the one before.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How a claim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    Complete,
    Release,
}

impl Settlement {
    const fn operation(self) -> Operation {
        match self {
            Self::Complete => Operation::Complete,
            Self::Release => Operation::Release,
        }
    }
}

/// Completes or releases a claim. When the store fails, the settlement is retried in the background and the handler's
/// answer stands.
pub(crate) async fn settle(shared: &Arc<Shared>, held: HeldClaim, settlement: Settlement) {
    if held.unconfirmed {
        // The store failed a moment ago. The sender should not wait for another call.
        return settle_in_background(shared, held, settlement);
    }
    match try_settle(shared, &held, settlement).await {
        Ok(settled) => {
            if settled == Settled::Lost {
                telemetry::claim_lost();
            }
            shared.waiters.notify_all(&held.key);
        }
        Err(error) => {
            telemetry::store_error(settlement.operation(), &error);
            settle_in_background(shared, held, settlement);
        }
    }
}

/// Retries a settlement in the background until it succeeds, its deadline passes, or the claim is lost.
///
/// Does nothing when too many claims of unknown outcome are being released already.
pub(crate) fn settle_in_background(shared: &Arc<Shared>, held: HeldClaim, settlement: Settlement) {
    let mut permit = None;
    if settlement == Settlement::Complete {
        // From here on this process detects duplicates itself, even if the store has not recorded the event.
        shared.pending.insert_completed(&held.key, held.request.fingerprint);
        shared.waiters.notify_all(&held.key);
    } else if held.unconfirmed {
        permit = shared.pending.track_unconfirmed();
        if permit.is_none() {
            return;
        }
    }
    let pending = PendingSettlement { shared: Arc::clone(shared), held, settlement, _permit: permit };
    let task = async move { pending.retry().await };
    drop(shared.tasks.spawn(task.in_current_span()));
}

/// A settlement that is retried. `Drop` cleans up, also on panic and when the runtime shuts down.
struct PendingSettlement {
    shared: Arc<Shared>,
    held: HeldClaim,
    settlement: Settlement,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for PendingSettlement {
    fn drop(&mut self) {
        if self.settlement == Settlement::Complete {
            self.shared.pending.forget(&self.held.key);
        }
        self.shared.waiters.notify_all(&self.held.key);
    }
}

impl PendingSettlement {
    async fn retry(&self) {
        let Self { shared, held, settlement, .. } = self;
        let config = &shared.config;
        let start = Instant::now();
        let deadline = start
            + match settlement {
                Settlement::Complete => config.lease_ceiling,
                Settlement::Release => config.lease,
            };
        // A claim whose reply was lost may still be on its way to the store, so a release that finds none is repeated.
        let late_claim_deadline = start + config.store_timeout * 3;
        let mut backoff = BACKOFF_MIN;
        loop {
            let permit = shared.pending.retry_permit().await;
            let result = try_settle(shared, held, *settlement).await;
            drop(permit);
            let next = Instant::now() + backoff;
            match (result, settlement) {
                (Ok(Settled::Applied), _) => return,
                // Another process runs the event. If that one fails, this completion is still recorded.
                (Ok(Settled::Lost), Settlement::Complete) if held.unconfirmed && next < deadline => {}
                (Ok(Settled::Lost), Settlement::Complete) => return telemetry::claim_lost(),
                (Ok(Settled::Lost), Settlement::Release)
                    if held.unconfirmed && next < late_claim_deadline => {}
                // An earlier try may have released it.
                (Ok(Settled::Lost), Settlement::Release) => return,
                (Err(error), _) if next >= deadline => {
                    return telemetry::settlement_abandoned(settlement.operation(), &error);
                }
                (Err(error), _) => telemetry::store_retry_failed(settlement.operation(), &error),
            }
            sleep_until(next).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

async fn try_settle(
    shared: &Shared,
    held: &HeldClaim,
    settlement: Settlement,
) -> Result<Settled, StoreError> {
    let config = &shared.config;
    let (store, timeout) = (&config.store, config.store_timeout);
    let (key, owner) = (&held.key, held.request.owner);
    if settlement == Settlement::Release {
        return call_store(timeout, store.release(key, owner)).await;
    }
    if held.unconfirmed {
        // The claim may never have been written, and only a claim can be completed.
        let claim = call_store(timeout, store.claim(key, &held.request)).await?;
        match claim.state {
            ClaimState::Done => return Ok(Settled::Applied),
            ClaimState::InFlight { .. } => return Ok(Settled::Lost),
            ClaimState::Claimed { .. } => {}
        }
        if !claim.fingerprint_matches && config.id_reuse_policy != IdReusePolicy::Acknowledge {
            // The record belongs to another body, whose event was not handled.
            let _ = call_store(timeout, store.release(key, owner)).await?;
            return Ok(Settled::Applied);
        }
    }
    call_store(timeout, store.complete(key, owner, config.retention)).await
}
