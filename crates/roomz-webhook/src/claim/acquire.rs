use std::sync::Arc;
use std::time::Duration;

use roomz_protocol::EventId;
use tokio::time::{Instant, sleep_until};

use super::held::HeldClaim;
use super::settle::{self, Settlement};
use crate::config::{IdReusePolicy, StoreFailurePolicy};
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
pub(crate) async fn acquire(
    shared: &Arc<Shared>,
    id: EventId,
    body: &[u8],
) -> Result<HeldClaim, EarlyResponse> {
    let config = &shared.config;
    let fingerprint = Fingerprint::of(body);
    let request = ClaimRequest::new(Owner::random(), fingerprint, config.lease, config.retention);
    let key = ClaimKey::new(Arc::clone(&config.namespace), id);

    let mut claim_attempt = ClaimAttempt { shared, key: &key, request, mismatch_reported: false };
    match claim_attempt.claim().await? {
        ClaimOutcome::Held(held) => Ok(held),
        ClaimOutcome::Done => Err(Skipped::Duplicate.into()),
        ClaimOutcome::OtherBody => {
            let key = key.with_body(fingerprint);
            let mut claim_attempt = ClaimAttempt { shared, key: &key, request, mismatch_reported: true };
            match claim_attempt.claim().await? {
                ClaimOutcome::Held(held) => Ok(held),
                ClaimOutcome::Done | ClaimOutcome::OtherBody => Err(Skipped::Duplicate.into()),
            }
        }
    }
}

enum ClaimOutcome {
    Held(HeldClaim),
    Done,
    /// The id is known with another body, and the policy is to process this body as another event.
    OtherBody,
}

struct ClaimAttempt<'a> {
    shared: &'a Arc<Shared>,
    key: &'a ClaimKey,
    request: ClaimRequest,
    mismatch_reported: bool,
}

impl ClaimAttempt<'_> {
    async fn claim(&mut self) -> Result<ClaimOutcome, EarlyResponse> {
        let claim = match self.call_store().await {
            Ok(claim) => claim,
            // Fail open on the first call only: a waiting duplicate already knows that the event is claimed.
            Err(error) if self.shared.config.store_failure_policy == StoreFailurePolicy::FailOpen => {
                telemetry::store_error(Operation::Claim, &error);
                return Ok(ClaimOutcome::Held(self.unconfirmed_claim()));
            }
            Err(error) => return Err(self.store_failed(&error)),
        };
        match self.interpret(claim).await? {
            Some(outcome) => Ok(outcome),
            None => self.wait().await,
        }
    }

    /// Waits until the delivery in flight is settled and claims again, or answers 503 at the deadline.
    async fn wait(&mut self) -> Result<ClaimOutcome, EarlyResponse> {
        let shared = self.shared;
        let deadline = Instant::now() + shared.config.duplicate_wait;
        let waiter = shared.waiters.register(self.key);
        let mut interval = POLL_MIN;
        while Instant::now() < deadline {
            // Created before the store is called, so that a settlement between the call and the wait is not missed.
            let notified = waiter.notified();
            let claim = self.call_store().await.map_err(|error| self.store_failed(&error))?;
            if let Some(outcome) = self.interpret(claim).await? {
                return Ok(outcome);
            }
            tokio::select! {
                () = notified => {}
                () = sleep_until(deadline.min(Instant::now() + interval)) => interval = (interval * 2).min(POLL_MAX),
            }
        }
        Err(EarlyResponse::retry_later(RejectionKind::InFlight, shared.config.retry_after))
    }

    async fn call_store(&self) -> Result<Claim, StoreError> {
        if let Some(fingerprint) = self.shared.pending.completed_fingerprint(self.key) {
            return Ok(Claim::new(ClaimState::Done, fingerprint == self.request.fingerprint));
        }
        let config = &self.shared.config;
        call_store(config.store_timeout, config.store.claim(self.key, &self.request)).await
    }

    /// Returns `None` while another delivery is in flight.
    async fn interpret(&mut self, claim: Claim) -> Result<Option<ClaimOutcome>, EarlyResponse> {
        if !claim.fingerprint_matches
            && let Some(outcome) = self.apply_id_reuse_policy(claim.state).await?
        {
            return Ok(Some(outcome));
        }
        Ok(match claim.state {
            ClaimState::Claimed { attempt } => Some(ClaimOutcome::Held(self.confirmed_claim(attempt))),
            ClaimState::Done => Some(ClaimOutcome::Done),
            ClaimState::InFlight { .. } => None,
        })
    }

    /// The id is known with another body. Returns `None` to treat this delivery as a duplicate.
    async fn apply_id_reuse_policy(
        &mut self,
        state: ClaimState,
    ) -> Result<Option<ClaimOutcome>, EarlyResponse> {
        if !std::mem::replace(&mut self.mismatch_reported, true) {
            telemetry::id_reused();
        }
        let policy = self.shared.config.id_reuse_policy;
        if policy == IdReusePolicy::Acknowledge {
            return Ok(None);
        }
        if let ClaimState::Claimed { attempt } = state {
            // This claims the first body's event, which is not done: release it for its own redelivery.
            settle::settle(self.shared, self.confirmed_claim(attempt), Settlement::Release).await;
        }
        match policy {
            IdReusePolicy::Reject => Err(RejectionKind::IdReused.into()),
            IdReusePolicy::Process | IdReusePolicy::Acknowledge => Ok(Some(ClaimOutcome::OtherBody)),
        }
    }

    /// Rejects the delivery. The store may have written the claim without replying, so it is released in the background:
    /// otherwise nobody could claim the event before the lease ends.
    fn store_failed(&self, error: &StoreError) -> EarlyResponse {
        telemetry::store_error(Operation::Claim, error);
        if error.kind() != StoreErrorKind::Full {
            settle::settle_in_background(self.shared, self.unconfirmed_claim(), Settlement::Release);
        }
        EarlyResponse::retry_later(RejectionKind::StoreUnavailable, self.shared.config.retry_after)
    }

    fn confirmed_claim(&self, attempt: u32) -> HeldClaim {
        HeldClaim { key: self.key.clone(), request: self.request, attempt, unconfirmed: false }
    }

    fn unconfirmed_claim(&self) -> HeldClaim {
        HeldClaim { unconfirmed: true, ..self.confirmed_claim(1) }
    }
}
