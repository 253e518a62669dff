use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::held::HeldClaim;
use super::settle::{self, Settlement};
use crate::config::{IdReusePolicy, StoreFailurePolicy};
use crate::response::{EarlyResponse, RejectionKind, Skipped};
use crate::state::Shared;
use crate::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, Owner, Settled, StoreError, StoreErrorKind,
    call_store,
};
use crate::telemetry::{self, Operation};

/// The first interval at which a waiting duplicate polls the store.
const POLL_MIN: Duration = Duration::from_millis(50);
/// The longest interval. Each one is twice the one before.
const POLL_MAX: Duration = Duration::from_secs(1);

/// Check 9: claims the event. Waits while another delivery of it is in flight.
///
/// `outer` finds the owner and the lease of a claim that another layer holds for the same request. A delivery whose client
/// disconnected does not wait.
pub(crate) async fn acquire(
    shared: &Arc<Shared>,
    key: ClaimKey,
    body: &[u8],
    outer: impl Fn(&ClaimKey) -> Option<(Owner, Duration)>,
    start: Instant,
    disconnected: impl Future<Output = ()>,
) -> Result<Box<HeldClaim>, EarlyResponse> {
    let config = &shared.config;
    let fingerprint = Fingerprint::of(body);
    let key = match config.id_reuse_policy {
        IdReusePolicy::Process => key.with_body(fingerprint),
        _ => key,
    };
    let outer = outer(&key);
    let request = ClaimRequest::new(Owner::random(), fingerprint, config.lease, config.retention);
    ClaimAttempt { shared, key, request, outer, mismatch_reported: false }.claim(start, disconnected).await
}

struct ClaimAttempt<'a> {
    shared: &'a Arc<Shared>,
    key: ClaimKey,
    request: ClaimRequest,
    outer: Option<(Owner, Duration)>,
    mismatch_reported: bool,
}

impl ClaimAttempt<'_> {
    async fn claim(
        &mut self,
        start: Instant,
        disconnected: impl Future<Output = ()>,
    ) -> Result<Box<HeldClaim>, EarlyResponse> {
        if self.shared.draining.is_active() {
            return Err(self.reject(RejectionKind::ShuttingDown));
        }
        let claim = match self.call_store().await {
            Ok(claim) => claim,
            // Fail open on the first call only: a waiting duplicate already knows that the event is claimed. A full store
            // replied, so it does not fail open: without a claim, duplicates would run concurrently.
            Err(error)
                if self.shared.config.store_failure_policy == StoreFailurePolicy::FailOpen
                    && error.kind() != StoreErrorKind::Full =>
            {
                telemetry::store_error(Operation::Claim, &error);
                return Ok(self.unconfirmed_claim(start));
            }
            Err(error) => return Err(self.store_failed(&error, start)),
        };
        if let Some(held) = self.interpret(claim, start).await? {
            return Ok(held);
        }
        // Boxed, as everything that few deliveries do, so that the future of each delivery is small.
        if Box::pin(self.is_held_by_outer_layer()).await {
            telemetry::nested_layers(self.key.namespace());
            return Err(self.reject(RejectionKind::NestedLayers));
        }
        let deadline = start + self.shared.config.duplicate_wait;
        Box::pin(self.wait(deadline, pin!(disconnected))).await
    }

    /// Waits until the delivery in flight is settled and claims again, or rejects the delivery at the deadline.
    async fn wait(
        &mut self,
        deadline: Instant,
        mut disconnected: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Box<HeldClaim>, EarlyResponse> {
        let shared = self.shared;
        let key = self.key.clone();
        let Some(waiter) = shared.waiters.register(&key) else {
            return Err(self.reject(RejectionKind::InFlight));
        };
        let mut interval = POLL_MIN;
        while Instant::now() < deadline {
            if shared.draining.is_active() {
                return Err(self.reject(RejectionKind::ShuttingDown));
            }
            // Created before the store is called, so that a settlement between the call and the wait is not missed.
            let notified = waiter.notified();
            let called_at = Instant::now();
            let claim = tokio::select! {
                // A store that was not called has no claim to release.
                biased;
                claim = self.call_store() => claim.map_err(|error| self.store_failed(&error, called_at))?,
                () = shared.draining.started() => {
                    settle::release_unconfirmed(shared, self.unconfirmed_claim(called_at));
                    return Err(self.reject(RejectionKind::ShuttingDown));
                }
            };
            if let Some(held) = self.interpret(claim, called_at).await? {
                return Ok(held);
            }
            tokio::select! {
                () = notified => {}
                () = sleep_until(deadline.min(Instant::now() + interval)) => interval = (interval * 2).min(POLL_MAX),
                () = shared.draining.started() => return Err(self.reject(RejectionKind::ShuttingDown)),
                // Nobody receives the response. Waiting on would only call the store.
                () = &mut disconnected => break,
            }
        }
        Err(self.reject(RejectionKind::InFlight))
    }

    /// Returns whether the claim in flight is that of another layer around this one, with the same store and namespace. Only
    /// then can its owner renew it here.
    async fn is_held_by_outer_layer(&self) -> bool {
        let Some((owner, lease)) = self.outer else { return false };
        let config = &self.shared.config;
        let renewal = call_store(config.store_timeout, Operation::Renew, || {
            config.store.renew(&self.key, owner, lease)
        })
        .await;
        renewal.is_ok_and(|settled| settled == Settled::Applied)
    }

    async fn call_store(&self) -> Result<Claim, StoreError> {
        if let Some(fingerprint) = self.shared.pending.completed_fingerprint(&self.key) {
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
    ) -> Result<Option<Box<HeldClaim>>, EarlyResponse> {
        if !claim.fingerprint_matches {
            if !std::mem::replace(&mut self.mismatch_reported, true) {
                telemetry::id_reused();
            }
            if self.shared.config.id_reuse_policy == IdReusePolicy::Reject {
                if let ClaimState::Claimed { attempt } = claim.state {
                    // This claims the first body's event, which is not done: release it for its own redelivery.
                    let held = self.confirmed_claim(attempt, called_at);
                    Box::pin(settle::settle(self.shared, held, Settlement::Release)).await;
                }
                return Err(RejectionKind::IdReused.into());
            }
        }
        match claim.state {
            ClaimState::Claimed { attempt } => Ok(Some(self.confirmed_claim(attempt, called_at))),
            ClaimState::Done => Err(Skipped::Duplicate.into()),
            ClaimState::InFlight { .. } => Ok(None),
        }
    }

    /// Rejects the delivery. The store may have written the claim without replying, so it is released in the background:
    /// otherwise nobody could claim the event before the lease ends.
    fn store_failed(&self, error: &StoreError, called_at: Instant) -> EarlyResponse {
        telemetry::store_error(Operation::Claim, error);
        if error.kind() != StoreErrorKind::Full {
            settle::release_unconfirmed(self.shared, self.unconfirmed_claim(called_at));
        }
        self.reject(RejectionKind::StoreUnavailable)
    }

    fn reject(&self, kind: RejectionKind) -> EarlyResponse {
        EarlyResponse::rejected(kind, self.shared.config.retry_after)
    }

    fn confirmed_claim(&self, attempt: u32, claimed_at: Instant) -> Box<HeldClaim> {
        Box::new(HeldClaim::new(self.key.clone(), self.request, attempt, claimed_at, false))
    }

    fn unconfirmed_claim(&self, claimed_at: Instant) -> Box<HeldClaim> {
        Box::new(HeldClaim::new(self.key.clone(), self.request, 1, claimed_at, true))
    }
}
