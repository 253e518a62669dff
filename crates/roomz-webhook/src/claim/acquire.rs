use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::held::HeldClaim;
use super::settle::{release_unconfirmed, settle};
use crate::config::IdReusePolicy;
use crate::finish::caller_gone;
use crate::response::{EarlyResponse, RejectionKind, Skipped};
use crate::state::Shared;
use crate::store::{Claim, ClaimState, OwnerUpdate, StoreError, StoreErrorKind};
use crate::telemetry;

/// The first interval at which a waiting duplicate polls the store.
const POLL_MIN: Duration = Duration::from_millis(50);
/// The longest interval. Each one is twice the one before.
const POLL_MAX: Duration = Duration::from_secs(1);

/// Check 9: claims the event, and returns when the store was called. Waits while another delivery of it is in
/// flight.
///
/// A delivery whose client disconnected does not wait.
pub(crate) async fn acquire(shared: &Arc<Shared>, held: &HeldClaim) -> Result<Instant, EarlyResponse> {
    let mut attempt = ClaimAttempt {
        shared,
        held,
        called_at: Instant::now(),
        may_be_claimed: false,
        mismatch_reported: false,
    };
    let Err(early) = attempt.claim().await else { return Ok(attempt.called_at) };
    if !held.is_unconfirmed() {
        Box::pin(settle(shared, held, OwnerUpdate::Release)).await;
    } else if attempt.may_be_claimed {
        // Otherwise nobody could claim the event before the lease ends.
        release_unconfirmed(shared, held);
    }
    Err(early)
}

struct ClaimAttempt<'a> {
    shared: &'a Arc<Shared>,
    held: &'a HeldClaim,
    called_at: Instant,
    /// The store may have written the last claim without replying.
    may_be_claimed: bool,
    mismatch_reported: bool,
}

impl ClaimAttempt<'_> {
    async fn claim(&mut self) -> Result<(), EarlyResponse> {
        if self.shared.draining.is_active() {
            return Err(RejectionKind::ShuttingDown.into());
        }
        let claim = match self.call_store().await {
            Ok(claim) => claim,
            // Fail open on the first call only: a waiting duplicate already knows that the event is claimed.
            // A full store replied, so it does not fail open: without a claim, duplicates would run
            // concurrently.
            Err(error) if self.shared.config.fails_open && error.kind() != StoreErrorKind::Full => {
                telemetry::store_error("claim", &error);
                return Ok(());
            }
            Err(error) => return Err(self.store_failed(&error)),
        };
        if self.interpret(claim)? {
            return Ok(());
        }
        // Boxed, as everything that few deliveries do, so that the future of each delivery is small.
        let deadline = self.called_at + self.shared.config.duplicate_wait;
        Box::pin(self.wait(deadline)).await
    }

    /// Waits until the delivery in flight is settled and claims again, or rejects the delivery at the
    /// deadline.
    async fn wait(&mut self, deadline: Instant) -> Result<(), EarlyResponse> {
        let shared = self.shared;
        // Registered before the store is called, so that no settlement is missed.
        let Some(waiter) = shared.waiters.hold(&self.held.key, Arc::default()) else {
            return Err(RejectionKind::InFlight.into());
        };
        let mut interval = POLL_MIN;
        while Instant::now() < deadline {
            if shared.draining.is_active() {
                return Err(RejectionKind::ShuttingDown.into());
            }
            // Created before the store is called, so that a settlement between the call and the wait is not
            // missed.
            let notified = waiter.value.notified();
            self.called_at = Instant::now();
            let claim = tokio::select! {
                // A store that was not called has no claim to release.
                biased;
                claim = self.call_store() => claim.map_err(|error| self.store_failed(&error))?,
                () = shared.draining.started() => {
                    self.may_be_claimed = true;
                    return Err(RejectionKind::ShuttingDown.into());
                }
            };
            if self.interpret(claim)? {
                return Ok(());
            }
            tokio::select! {
                () = notified => {}
                () = sleep_until(deadline.min(Instant::now() + interval)) => interval = (interval * 2).min(POLL_MAX),
                () = shared.draining.started() => return Err(RejectionKind::ShuttingDown.into()),
                // Nobody receives the response. Waiting on would only call the store.
                () = caller_gone() => break,
            }
        }
        Err(RejectionKind::InFlight.into())
    }

    async fn call_store(&self) -> Result<Claim, StoreError> {
        let HeldClaim { key, request, .. } = self.held;
        if let Some(fingerprint) = self.shared.unrecorded.get(key) {
            return Ok(Claim::new(ClaimState::Done, fingerprint == request.fingerprint));
        }
        self.shared.config.store.claim(key, request).await
    }

    /// Returns whether the event is claimed, and `false` while another delivery is in flight.
    fn interpret(&mut self, claim: Claim) -> Result<bool, EarlyResponse> {
        if let ClaimState::Claimed { attempt } = claim.state {
            self.held.confirm(attempt);
        }
        if !claim.fingerprint_matches {
            if !std::mem::replace(&mut self.mismatch_reported, true) {
                telemetry::id_reused();
            }
            if self.shared.config.id_reuse_policy == IdReusePolicy::Reject {
                // A claim is that of the first body's event, which is not done. It is released for its own
                // redelivery.
                return Err(RejectionKind::IdReused.into());
            }
        }
        match claim.state {
            ClaimState::Claimed { .. } => Ok(true),
            ClaimState::Done => Err(EarlyResponse::Skipped(Skipped::Duplicate)),
            ClaimState::InFlight { .. } => Ok(false),
        }
    }

    /// Rejects the delivery. A full store replied, so it has no claim to release.
    fn store_failed(&mut self, error: &StoreError) -> EarlyResponse {
        telemetry::store_error("claim", error);
        self.may_be_claimed = error.kind() != StoreErrorKind::Full;
        RejectionKind::StoreUnavailable.into()
    }
}
