use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use roomz_protocol::EventId;
use tokio::time::{Instant, sleep_until};

use crate::answer::{Answer, Skipped};
use crate::ask::ask;
use crate::layer::Receiver;
use crate::measure::{self, Operation};
use crate::refusal::{Rejection, RejectionKind};
use crate::settings::{IdReusePolicy, StoreFailurePolicy};
use crate::settle::{self, Settlement};
use crate::store::{
    Claim, ClaimKey, ClaimRequest, ClaimState, Fingerprint, Owner, StoreError, StoreErrorKind,
};

/// How often a duplicate asks again for an event that another process handles: from, and up to.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A claim that is ours, to be completed or released.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) key: ClaimKey,
    pub(crate) request: ClaimRequest,
    pub(crate) attempt: u32,
    /// The store did not say whether the claim is ours.
    pub(crate) unconfirmed: bool,
}

/// Check 9: claims the event, and waits while somebody else has it.
pub(crate) async fn claim(receiver: &Arc<Receiver>, id: EventId, body: &[u8]) -> Result<Held, Answer> {
    let settings = &receiver.settings;
    let fingerprint = Fingerprint::of(body);
    let request = ClaimRequest::new(Owner::random(), fingerprint, settings.lease, settings.retention);
    let key = ClaimKey::new(Arc::clone(&settings.namespace), id);
    match (Claimant { receiver, key: &key, request, warned: false }).claim().await? {
        Told::Ours(held) => Ok(held),
        Told::Done => Err(Skipped::Duplicate.into()),
        Told::OtherBody => {
            let key = key.of_other_body(fingerprint);
            match (Claimant { receiver, key: &key, request, warned: true }).claim().await? {
                Told::Ours(held) => Ok(held),
                Told::Done | Told::OtherBody => Err(Skipped::Duplicate.into()),
            }
        }
    }
}

enum Told {
    Ours(Held),
    Done,
    /// Known with another body, which is to be an event of its own.
    OtherBody,
}

struct Claimant<'a> {
    receiver: &'a Arc<Receiver>,
    key: &'a ClaimKey,
    request: ClaimRequest,
    warned: bool,
}

impl Claimant<'_> {
    async fn claim(&mut self) -> Result<Told, Answer> {
        let answer = match self.ask().await {
            Ok(answer) => answer,
            // Only here nothing is known of the event: who was told to wait knows that somebody has it.
            Err(error) if self.receiver.settings.store_failure_policy == StoreFailurePolicy::FailOpen => {
                measure::store_error(Operation::Claim, &error);
                return Ok(Told::Ours(self.held(1, true)));
            }
            Err(error) => return Err(self.outage(&error)),
        };
        match self.understand(answer).await? {
            Some(told) => Ok(told),
            None => self.wait().await,
        }
    }

    async fn wait(&mut self) -> Result<Told, Answer> {
        let receiver = self.receiver;
        let patience_ends = Instant::now() + receiver.settings.duplicate_wait;
        let seat = receiver.waiting.enter(self.key);
        let mut poll = POLL.0;
        while Instant::now() < patience_ends {
            // From here on the bell is heard, so that a settlement between asking and waiting is not missed.
            let bell = seat.bell();
            let answer = self.ask().await.map_err(|error| self.outage(&error))?;
            if let Some(told) = self.understand(answer).await? {
                return Ok(told);
            }
            tokio::select! {
                () = bell => {}
                () = sleep_until(patience_ends.min(Instant::now() + poll)) => poll = (poll * 2).min(POLL.1),
            }
        }
        Err(refused_for_now(receiver, RejectionKind::InFlight))
    }

    async fn ask(&self) -> Result<Claim, StoreError> {
        if let Some(body) = self.receiver.background.handled_body(self.key) {
            return Ok(Claim::new(ClaimState::Done, body == self.request.fingerprint));
        }
        let settings = &self.receiver.settings;
        ask(settings, settings.store.claim(self.key, &self.request)).await
    }

    /// `None`: somebody else has it.
    async fn understand(&mut self, claim: Claim) -> Result<Option<Told>, Answer> {
        if !claim.fingerprint_matches
            && let Some(told) = self.other_body(claim.state).await?
        {
            return Ok(Some(told));
        }
        Ok(match claim.state {
            ClaimState::Claimed { attempt } => Some(Told::Ours(self.held(attempt, false))),
            ClaimState::Done => Some(Told::Done),
            ClaimState::InFlight { .. } => None,
        })
    }

    /// The id is known with another body. `None` goes on as with the same body.
    async fn other_body(&mut self, state: ClaimState) -> Result<Option<Told>, Answer> {
        if !std::mem::replace(&mut self.warned, true) {
            measure::id_reused();
        }
        let policy = self.receiver.settings.id_reuse_policy;
        if policy == IdReusePolicy::Acknowledge {
            return Ok(None);
        }
        if let ClaimState::Claimed { attempt } = state {
            // The first body's event is not done: it is left for its own redelivery.
            settle::settle(self.receiver, self.held(attempt, false), Settlement::Release).await;
        }
        match policy {
            IdReusePolicy::Reject => Err(Rejection::new(RejectionKind::IdReused).into()),
            IdReusePolicy::Process | IdReusePolicy::Acknowledge => Ok(Some(Told::OtherBody)),
        }
    }

    /// The store did not say. It may have written the claim all the same, which would then be nobody's until its
    /// lease ends: it is given back.
    fn outage(&self, error: &StoreError) -> Answer {
        measure::store_error(Operation::Claim, error);
        if error.kind() != StoreErrorKind::Full {
            settle::in_background(self.receiver, self.held(1, true), Settlement::Release);
        }
        refused_for_now(self.receiver, RejectionKind::StoreUnavailable)
    }

    fn held(&self, attempt: u32, unconfirmed: bool) -> Held {
        Held { key: self.key.clone(), request: self.request, attempt, unconfirmed }
    }
}

fn refused_for_now(receiver: &Receiver, kind: RejectionKind) -> Answer {
    let seconds = receiver.settings.retry_after.as_secs_f64().ceil() as u64;
    Answer::Refused { refusal: Rejection::new(kind), retry_after: Some(HeaderValue::from(seconds.max(1))) }
}
