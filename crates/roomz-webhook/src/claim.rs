use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use roomz_protocol::EventId;
use tokio::time::{Instant, sleep_until, timeout};

use crate::answer::{Answer, Skipped};
use crate::layer::Receiver;
use crate::measure::{self, Operation};
use crate::refusal::{Refusal, RefusalKind};
use crate::settings::{IdReused, StoreOutage};
use crate::settle::{self, Settlement};
use crate::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, Owner, StoreError};

/// How often a duplicate asks again for an event that another process handles: from, and up to.
const POLL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A claim that is ours, to be completed or released.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) key: ClaimKey,
    pub(crate) owner: Owner,
    pub(crate) attempt: u32,
    /// The store did not say whether the claim is ours; the policy is to go on all the same.
    pub(crate) unconfirmed: bool,
}

/// Check 9: claims the event, and waits while somebody else has it.
pub(crate) async fn claim(receiver: &Arc<Receiver>, id: EventId, body: &[u8]) -> Result<Held, Answer> {
    let settings = &receiver.settings;
    let fingerprint = Fingerprint::of(body);
    let owner = Owner::random();
    let key = ClaimKey::new(Arc::clone(&settings.namespace), id);
    match claim_key(receiver, &key, owner, fingerprint).await? {
        Told::Ours { attempt, unconfirmed } => Ok(Held { key, owner, attempt, unconfirmed }),
        Told::Done => Err(Skipped::Duplicate.into()),
        Told::OtherBody => {
            let key = key.of_other_body(fingerprint);
            match claim_key(receiver, &key, owner, fingerprint).await? {
                Told::Ours { attempt, unconfirmed } => Ok(Held { key, owner, attempt, unconfirmed }),
                Told::Done | Told::OtherBody => Err(Skipped::Duplicate.into()),
            }
        }
    }
}

enum Told {
    Ours {
        attempt: u32,
        unconfirmed: bool,
    },
    Done,
    /// Known with another body, which is to be an event of its own.
    OtherBody,
}

async fn claim_key(
    receiver: &Arc<Receiver>,
    key: &ClaimKey,
    owner: Owner,
    fingerprint: Fingerprint,
) -> Result<Told, Answer> {
    let settings = &receiver.settings;
    let request = ClaimRequest::new(owner, fingerprint, settings.lease, settings.retention);
    let mut claimant = Claimant { receiver, key, request, warned: false };
    if let Ok(told) = claimant.ask().await? {
        return Ok(told);
    }

    let patience_ends = Instant::now() + settings.duplicate_wait;
    let seat = receiver.waiting.enter(key);
    let mut poll = POLL.0;
    loop {
        // From here on the bell is heard, so that a settlement between asking and waiting is not missed.
        let bell = seat.bell();
        let remaining = match claimant.ask().await? {
            Ok(told) => return Ok(told),
            Err(InFlight { remaining }) => remaining,
        };
        let now = Instant::now();
        if now >= patience_ends {
            return Err(refused_for_now(receiver, RefusalKind::InFlight));
        }
        // A lease that ends sooner is taken over sooner, but not asked for in a tight loop.
        let pause = poll.min(remaining.max(POLL.0));
        tokio::select! {
            () = bell => {}
            () = sleep_until(patience_ends.min(now + pause)) => poll = (poll * 2).min(POLL.1),
        }
    }
}

struct Claimant<'a> {
    receiver: &'a Arc<Receiver>,
    key: &'a ClaimKey,
    request: ClaimRequest,
    warned: bool,
}

/// Somebody else has it.
struct InFlight {
    remaining: Duration,
}

impl Claimant<'_> {
    async fn ask(&mut self) -> Result<Result<Told, InFlight>, Answer> {
        let settings = &self.receiver.settings;
        let claim = match timeout(settings.store_timeout, settings.store.claim(self.key, &self.request))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out()))
        {
            Ok(claim) => claim,
            Err(error) => return self.outage(&error).map(Ok),
        };
        if !claim.fingerprint_matches
            && let Some(told) = self.other_body(claim.state).await?
        {
            return Ok(Ok(told));
        }
        Ok(match claim.state {
            ClaimState::Claimed { attempt } => Ok(Told::Ours { attempt, unconfirmed: false }),
            ClaimState::Done => Ok(Told::Done),
            ClaimState::InFlight { remaining } => Err(InFlight { remaining }),
        })
    }

    /// The id is known with another body. `None` goes on as with any duplicate.
    async fn other_body(&mut self, state: ClaimState) -> Result<Option<Told>, Answer> {
        if !std::mem::replace(&mut self.warned, true) {
            measure::id_reused();
        }
        match (self.receiver.settings.id_reused, state) {
            (IdReused::Refuse, state) => {
                if let ClaimState::Claimed { attempt } = state {
                    settle::settle(self.receiver, self.held(attempt, false), Settlement::Release).await;
                }
                Err(Refusal::new(RefusalKind::IdReused).into())
            }
            (IdReused::Process, ClaimState::InFlight { .. } | ClaimState::Done) => Ok(Some(Told::OtherBody)),
            (IdReused::Process | IdReused::Acknowledge, _) => Ok(None),
        }
    }

    /// The store did not say. It may have written the claim all the same, which would then be nobody's until its
    /// lease ends: it is given back.
    fn outage(&self, error: &StoreError) -> Result<Told, Answer> {
        measure::store_error(Operation::Claim, error);
        match self.receiver.settings.store_outage {
            StoreOutage::Process => Ok(Told::Ours { attempt: 1, unconfirmed: true }),
            StoreOutage::Refuse => {
                settle::in_background(self.receiver, self.held(1, true), Settlement::Release);
                Err(refused_for_now(self.receiver, RefusalKind::StoreUnavailable))
            }
        }
    }

    fn held(&self, attempt: u32, unconfirmed: bool) -> Held {
        Held { key: self.key.clone(), owner: self.request.owner, attempt, unconfirmed }
    }
}

fn refused_for_now(receiver: &Receiver, kind: RefusalKind) -> Answer {
    let seconds = receiver.settings.retry_after.as_secs_f64().ceil() as u64;
    Answer::Refused { refusal: Refusal::new(kind), retry_after: Some(HeaderValue::from(seconds.max(1))) }
}
