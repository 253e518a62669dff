use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Instrument as _;

use super::held::HeldClaim;
use super::reclaim::{Reclaimed, reclaim};
use crate::state::Shared;
use crate::store::{Settled, StoreError};
use crate::telemetry::{self, GaugeGuard, Operation};

/// The first pause before a settlement is retried.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause. Each one is twice the one before. It is short, because after an outage that is longer
/// than the lease, a redelivery may claim the event before the completion is recorded.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

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

/// Completes or releases a claim. When the store fails, the settlement is retried in the background and the
/// handler's answer stands.
pub(crate) async fn settle(shared: &Arc<Shared>, held: &HeldClaim, settlement: Settlement) {
    if held.is_unconfirmed() {
        // The store failed a moment ago. The sender should not wait for another call.
        return settle_in_background(shared, held, settlement);
    }
    match try_settle(shared, held, settlement).await {
        Ok(settled) => {
            if settled == Settled::Lost && settlement == Settlement::Complete {
                telemetry::claim_lost();
            }
            shared.notify_waiters(&held.key);
        }
        Err(error) => {
            telemetry::store_error(settlement.operation(), &error);
            settle_in_background(shared, held, settlement);
        }
    }
}

/// Releases a claim whose handler did not run, because the store did not reply to the claim.
///
/// An outage causes one for each delivery, so they have a lower limit of their own. Above it, the lease ends
/// the claim.
pub(crate) fn release_unconfirmed(shared: &Arc<Shared>, held: &HeldClaim) {
    match Arc::clone(&shared.unconfirmed_permits).try_acquire_owned() {
        Ok(permit) => spawn_settlement(shared, held, Settlement::Release, permit),
        Err(_) => telemetry::unconfirmed_claim_abandoned(),
    }
}

/// Retries a settlement in the background until it succeeds, its deadline passes, or the claim is lost.
///
/// Above the limit of background settlements, the settlement is abandoned.
fn settle_in_background(shared: &Arc<Shared>, held: &HeldClaim, settlement: Settlement) {
    match Arc::clone(&shared.pending_permits).try_acquire_owned() {
        Ok(permit) => spawn_settlement(shared, held, settlement, permit),
        Err(_) => {
            telemetry::settlement_abandoned(settlement.operation(), None);
            shared.notify_waiters(&held.key);
        }
    }
}

fn spawn_settlement(
    shared: &Arc<Shared>,
    held: &HeldClaim,
    settlement: Settlement,
    permit: OwnedSemaphorePermit,
) {
    if settlement == Settlement::Complete {
        // From here on this process detects duplicates itself, even if the store has not recorded the event.
        let _ = shared.unrecorded.hold(&held.key, held.request.fingerprint);
        shared.notify_waiters(&held.key);
    }
    let guards = (permit, telemetry::settlement_pending());
    let pending =
        PendingSettlement { shared: Arc::clone(shared), held: held.detach(), settlement, _guards: guards };
    drop(shared.tasks.spawn(pending.retry().in_current_span()));
}

/// A settlement that is retried. `Drop` cleans up, also on panic and when the runtime shuts down.
struct PendingSettlement {
    shared: Arc<Shared>,
    held: HeldClaim,
    settlement: Settlement,
    _guards: (OwnedSemaphorePermit, GaugeGuard),
}

impl Drop for PendingSettlement {
    fn drop(&mut self) {
        if self.settlement == Settlement::Complete {
            self.shared.unrecorded.release(&self.held.key);
        }
        self.shared.notify_waiters(&self.held.key);
    }
}

impl PendingSettlement {
    /// Ends at the deadline, even while it waits for a permit or for the store.
    async fn retry(self) {
        let config = &self.shared.config;
        let deadline = Instant::now()
            + match self.settlement {
                Settlement::Complete => config.lease_ceiling,
                Settlement::Release => config.lease,
            };
        let mut last = None;
        if timeout_at(deadline, self.retry_until_settled(&mut last)).await.is_ok() {
            return;
        }
        match last {
            Some(Ok(_)) if self.settlement == Settlement::Complete => telemetry::claim_lost(),
            // Nothing was left to release.
            Some(Ok(_)) => {}
            Some(Err(error)) => telemetry::settlement_abandoned(self.settlement.operation(), Some(&error)),
            None => telemetry::settlement_abandoned(self.settlement.operation(), None),
        }
    }

    async fn retry_until_settled(&self, last: &mut Option<Result<Settled, StoreError>>) {
        let Self { shared, held, settlement, .. } = self;
        // A claim whose reply was lost may still be on its way to the store, so a release that finds none is
        // repeated.
        let late_claim_deadline = Instant::now() + shared.config.store.timeout * 3;
        let mut backoff = BACKOFF_MIN;
        loop {
            let permit = shared.retry_permits.acquire().await;
            let result = last.insert(try_settle(shared, held, *settlement).await);
            drop(permit);
            let now = Instant::now();
            let mut next = now + backoff;
            match (result, settlement) {
                (Ok(Settled::Applied), _) => return,
                // Another process runs the event. If that one fails, this completion is still recorded.
                (Ok(Settled::Lost), Settlement::Complete) if held.is_unconfirmed() => {}
                (Ok(Settled::Lost), Settlement::Complete) => return telemetry::claim_lost(),
                (Ok(Settled::Lost), Settlement::Release)
                    if held.is_unconfirmed() && now < late_claim_deadline =>
                {
                    next = next.min(late_claim_deadline);
                }
                // An earlier try may have released it.
                (Ok(Settled::Lost), Settlement::Release) => return,
                (Err(error), _) => telemetry::store_retry_failed(settlement.operation(), error),
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
    if settlement == Settlement::Release {
        return config.store.release(&held.key, held.request.owner).await;
    }
    if !held.is_unconfirmed() && config.store.complete(&held.key, &held.request).await? == Settled::Applied {
        return Ok(Settled::Applied);
    }
    // Only a claim can be completed. The store may never have written it, or lost it.
    match Box::pin(reclaim(shared, held, config.lease)).await? {
        Reclaimed::Held { attempt } => {
            // After failing open, the attempt is not known, and the store may never have had the claim.
            if !held.failed_open() {
                if attempt > held.attempt() { telemetry::claim_lost() } else { telemetry::claim_restored() }
            }
            config.store.complete(&held.key, &held.request).await
        }
        Reclaimed::Done => {
            if !held.failed_open() {
                telemetry::claim_lost();
            }
            Ok(Settled::Applied)
        }
        Reclaimed::Completed | Reclaimed::OtherBody => Ok(Settled::Applied),
        Reclaimed::InFlight => Ok(Settled::Lost),
    }
}
