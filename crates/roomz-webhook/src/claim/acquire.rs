use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::held::HeldClaim;
use super::settle::{self, Settlement};
use crate::config::IdReusePolicy;
use crate::finish::caller_gone;
use crate::response::{EarlyResponse, RejectionKind, Skipped};
use crate::state::Shared;
use crate::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, Owner, StoreError, StoreErrorKind, call_store,
};
use crate::telemetry::{self, Operation};

/// The first interval at which a waiting duplicate polls the store.
const POLL_MIN: Duration = Duration::from_millis(50);
/// The longest interval. Each one is twice the one before.
const POLL_MAX: Duration = Duration::from_secs(1);

/// Check 9: claims the event. Waits while another delivery of it is in flight.
///
/// A delivery whose client disconnected does not wait.
pub(crate) async fn acquire(
    shared: &Arc<Shared>,
    key: ClaimKey,
    body: &[u8],
) -> Result<Arc<HeldClaim>, EarlyResponse> {
    let config = &shared.config;
    let fingerprint = Fingerprint::of(body);
    let key = match config.id_reuse_policy {
        IdReusePolicy::Process => key.with_body(fingerprint),
        _ => key,
    };
    let request = ClaimRequest::new(Owner::random(), fingerprint, config.lease, config.retention);
    ClaimAttempt { shared, key, request, mismatch_reported: false }.claim().await
}

struct ClaimAttempt<'a> {
    shared: &'a Arc<Shared>,
    key: ClaimKey,
    request: ClaimRequest,
    mismatch_reported: bool,
}

impl ClaimAttempt<'_> {
    async fn claim(&mut self) -> Result<Arc<HeldClaim>, EarlyResponse> {
        if self.shared.draining.is_active() {
            return Err(RejectionKind::ShuttingDown.into());
        }
        let start = Instant::now();
        let claim = match self.call_store().await {
            Ok(claim) => claim,
            // Fail open on the first call only: a waiting duplicate already knows that the event is claimed.
            // A full store replied, so it does not fail open: without a claim, duplicates would run
            // concurrently.
            Err(error) if self.shared.config.fails_open && error.kind() != StoreErrorKind::Full => {
                telemetry::store_error(Operation::Claim, &error);
                return Ok(self.held(None, start));
            }
            Err(error) => return Err(self.store_failed(&error, start)),
        };
        if let Some(held) = self.interpret(claim, start).await? {
            return Ok(held);
        }
        // Boxed, as everything that few deliveries do, so that the future of each delivery is small.
        let deadline = start + self.shared.config.duplicate_wait;
        Box::pin(self.wait(deadline)).await
    }

    /// Waits until the delivery in flight is settled and claims again, or rejects the delivery at the
    /// deadline.
    async fn wait(&mut self, deadline: Instant) -> Result<Arc<HeldClaim>, EarlyResponse> {
        let shared = self.shared;
        let key = self.key.clone();
        // Registered before the store is called, so that no settlement is missed.
        let Some(waiter) = Waiter::register(shared, &key) else {
            return Err(RejectionKind::InFlight.into());
        };
        let mut interval = POLL_MIN;
        while Instant::now() < deadline {
            if shared.draining.is_active() {
                return Err(RejectionKind::ShuttingDown.into());
            }
            // Created before the store is called, so that a settlement between the call and the wait is not
            // missed.
            let notified = waiter.notify.notified();
            let called_at = Instant::now();
            let claim = tokio::select! {
                // A store that was not called has no claim to release.
                biased;
                claim = self.call_store() => claim.map_err(|error| self.store_failed(&error, called_at))?,
                () = shared.draining.started() => {
                    settle::release_unconfirmed(shared, self.held(None, called_at));
                    return Err(RejectionKind::ShuttingDown.into());
                }
            };
            if let Some(held) = self.interpret(claim, called_at).await? {
                return Ok(held);
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
        if let Some(fingerprint) = self.shared.unrecorded.get(&self.key) {
            return Ok(Claim::new(ClaimState::Done, fingerprint == self.request.fingerprint));
        }
        let config = &self.shared.config;
        call_store(config.store_timeout, Operation::Claim, || config.store.claim(&self.key, &self.request))
            .await
    }

    /// Returns `None` while another delivery is in flight.
    async fn interpret(
        &mut self,
        claim: Claim,
        called_at: Instant,
    ) -> Result<Option<Arc<HeldClaim>>, EarlyResponse> {
        if !claim.fingerprint_matches {
            if !std::mem::replace(&mut self.mismatch_reported, true) {
                telemetry::id_reused();
            }
            if self.shared.config.id_reuse_policy == IdReusePolicy::Reject {
                if let ClaimState::Claimed { attempt } = claim.state {
                    // This claims the first body's event, which is not done: release it for its own
                    // redelivery.
                    let held = self.held(Some(attempt), called_at);
                    Box::pin(settle::settle(self.shared, held, Settlement::Release)).await;
                }
                return Err(RejectionKind::IdReused.into());
            }
        }
        match claim.state {
            ClaimState::Claimed { attempt } => Ok(Some(self.held(Some(attempt), called_at))),
            ClaimState::Done => Err(EarlyResponse::Skipped(Skipped::Duplicate)),
            ClaimState::InFlight { .. } => Ok(None),
        }
    }

    /// Rejects the delivery. The store may have written the claim without replying, so it is released in the
    /// background: otherwise nobody could claim the event before the lease ends.
    fn store_failed(&self, error: &StoreError, called_at: Instant) -> EarlyResponse {
        telemetry::store_error(Operation::Claim, error);
        if error.kind() != StoreErrorKind::Full {
            settle::release_unconfirmed(self.shared, self.held(None, called_at));
        }
        RejectionKind::StoreUnavailable.into()
    }

    /// `attempt` is `None` for a claim of unknown outcome.
    fn held(&self, attempt: Option<u32>, claimed_at: Instant) -> Arc<HeldClaim> {
        Arc::new(HeldClaim::new(self.key.clone(), self.request, attempt, claimed_at))
    }
}

/// A duplicate that waits. Dropping it unregisters it.
struct Waiter<'a> {
    shared: &'a Shared,
    key: &'a ClaimKey,
    notify: Arc<Notify>,
}

impl<'a> Waiter<'a> {
    /// Returns `None` when too many duplicates wait.
    fn register(shared: &'a Shared, key: &'a ClaimKey) -> Option<Self> {
        let notify = shared.waiters.hold(key, Arc::default())?;
        Some(Self { shared, key, notify })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.shared.waiters.release(self.key);
    }
}
