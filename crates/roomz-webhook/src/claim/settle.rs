use std::sync::Arc;
use std::time::Duration;

use scopeguard::guard;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::Instrument as _;

use super::held::HeldClaim;
use super::reclaim::{Reclaimed, reclaim};
use crate::config::Config;
use crate::state::Shared;
use crate::store::{OwnerUpdate, Settled, StoreError};
use crate::telemetry;

/// The first pause before a settlement is retried.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause. Each one is twice the one before. It is short, because after an outage that is longer
/// than the lease, a redelivery may claim the event before the completion is recorded.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Completes or releases a claim. When the store fails, the settlement is retried in the background and the
/// handler's answer stands.
pub(crate) async fn settle(shared: &Arc<Shared>, held: &HeldClaim, settlement: OwnerUpdate) {
    if held.is_unconfirmed() {
        // The store failed a moment ago. The sender should not wait for another call.
        return settle_in_background(shared, held, settlement);
    }
    match try_settle(shared, held, settlement).await {
        Ok(settled) => {
            if settled == Settled::Lost && settlement.is_completion() {
                telemetry::claim_lost();
            }
            shared.notify_waiters(&held.key);
        }
        Err(error) => {
            telemetry::store_error(settlement.name(), &error);
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
        Ok(permit) => spawn_settlement(shared, held, OwnerUpdate::Release, permit),
        Err(_) => telemetry::unconfirmed_claim_abandoned(),
    }
}

/// Retries a settlement in the background until it succeeds, its deadline passes, or the claim is lost.
///
/// Above the limit of background settlements, the settlement is abandoned.
fn settle_in_background(shared: &Arc<Shared>, held: &HeldClaim, settlement: OwnerUpdate) {
    match Arc::clone(&shared.pending_permits).try_acquire_owned() {
        Ok(permit) => spawn_settlement(shared, held, settlement, permit),
        Err(_) => {
            telemetry::settlement_abandoned(settlement.name(), None);
            shared.notify_waiters(&held.key);
        }
    }
}

fn spawn_settlement(
    shared: &Arc<Shared>,
    held: &HeldClaim,
    settlement: OwnerUpdate,
    permit: OwnedSemaphorePermit,
) {
    let (shared, held) = (Arc::clone(shared), held.detach());
    let unrecorded = settlement.is_completion().then(|| {
        // From here on this process detects duplicates itself, even if the store has not recorded the event.
        let unrecorded = shared.unrecorded.hold(&held.key, held.request.fingerprint);
        shared.notify_waiters(&held.key);
        unrecorded
    });
    let guards = (permit, telemetry::settlement_pending(), unrecorded);
    let tasks = shared.tasks.clone();
    // Also if the task is dropped or panics.
    let settling = guard((shared, held, guards), |(shared, held, guards)| {
        drop(guards);
        shared.notify_waiters(&held.key);
    });
    let pending = async move {
        let (shared, held, _) = &*settling;
        retry(shared, held, settlement).await;
    };
    drop(tasks.spawn(pending.in_current_span()));
}

/// Ends at the deadline, even while it waits for a permit or for the store.
async fn retry(shared: &Shared, held: &HeldClaim, settlement: OwnerUpdate) {
    let Config { lease, lease_ceiling, .. } = shared.config;
    let deadline = Instant::now() + if settlement.is_completion() { lease_ceiling } else { lease };
    let mut last = None;
    if timeout_at(deadline, retry_until_settled(shared, held, settlement, &mut last)).await.is_ok() {
        return;
    }
    match last {
        Some(Ok(_)) if settlement.is_completion() => telemetry::claim_lost(),
        Some(Err(error)) => telemetry::settlement_abandoned(settlement.name(), Some(&error)),
        Some(Ok(_)) | None => telemetry::settlement_abandoned(settlement.name(), None),
    }
}

async fn retry_until_settled(
    shared: &Shared,
    held: &HeldClaim,
    settlement: OwnerUpdate,
    last: &mut Option<Result<Settled, StoreError>>,
) {
    // A claim whose reply was lost may still be on its way to the store, so a release that finds none is
    // repeated.
    let late_claim_deadline = Instant::now() + shared.config.store.timeout * 3;
    let mut backoff = BACKOFF_MIN;
    loop {
        let permit = shared.retry_permits.acquire().await;
        let result = last.insert(try_settle(shared, held, settlement).await);
        drop(permit);
        let now = Instant::now();
        let mut next = now + backoff;
        match result {
            Ok(Settled::Applied) => return,
            // Another process runs the event. If that one fails, this completion is still recorded.
            Ok(Settled::Lost) if settlement.is_completion() && held.is_unconfirmed() => {}
            Ok(Settled::Lost) if settlement.is_completion() => return telemetry::claim_lost(),
            Ok(Settled::Lost) if held.is_unconfirmed() && now < late_claim_deadline => {
                next = next.min(late_claim_deadline);
            }
            // An earlier try may have released it.
            Ok(Settled::Lost) => return,
            Err(error) => telemetry::store_retry_failed(settlement.name(), error),
        }
        sleep_until(next).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

async fn try_settle(
    shared: &Shared,
    held: &HeldClaim,
    settlement: OwnerUpdate,
) -> Result<Settled, StoreError> {
    let config = &shared.config;
    let settle = || config.store.update(&held.key, held.request.owner, settlement);
    if !settlement.is_completion() {
        return settle().await;
    }
    if !held.is_unconfirmed() && settle().await? == Settled::Applied {
        return Ok(Settled::Applied);
    }
    // Only a claim can be completed. The store may never have written it, or lost it.
    match Box::pin(reclaim(shared, held, config.lease)).await? {
        Reclaimed::Held { attempt } => {
            // After failing open, the attempt is not known, and the store may never have had the claim.
            if !held.failed_open() {
                if attempt > held.attempt() { telemetry::claim_lost() } else { telemetry::claim_restored() }
            }
            settle().await
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
