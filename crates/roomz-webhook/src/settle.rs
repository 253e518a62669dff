use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use crate::ask::ask;
use crate::claim::Held;
use crate::layer::Receiver;
use crate::measure::{self, Operation};
use crate::settings::IdReusePolicy;
use crate::store::{ClaimState, Settled, StoreError};

/// How long to wait before a settlement is tried again: from, and up to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How a claim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    Complete,
    Release,
}

/// Completes or releases a claim. When the store does not answer, that is tried again in the background: the
/// handler's answer stands.
pub(crate) async fn settle(receiver: &Arc<Receiver>, held: Held, settlement: Settlement) {
    if held.unconfirmed {
        // The store was down a moment ago; the sender need not wait for it to be asked again.
        return in_background(receiver, held, settlement);
    }
    match once(receiver, &held, settlement).await {
        Ok(settled) => {
            if settled == Settled::Lost {
                measure::lost();
            }
            receiver.waiting.ring(&held.key);
        }
        Err(error) => {
            measure::store_error(settlement.operation(), &error);
            in_background(receiver, held, settlement);
        }
    }
}

/// Settles in the background, until it succeeds or can no longer matter.
pub(crate) fn in_background(receiver: &Arc<Receiver>, held: Held, settlement: Settlement) {
    let orphan = settlement == Settlement::Release && held.unconfirmed;
    if orphan && !receiver.background.adopt_orphan(&held.key) {
        return;
    }
    if settlement == Settlement::Complete {
        // From here on this process answers duplicates itself, whatever the store knows.
        receiver.background.handled(&held.key, held.request.fingerprint);
        receiver.waiting.ring(&held.key);
    }
    let pending = Pending { receiver: Arc::clone(receiver), held, settlement };
    let task = async move { pending.retry().await };
    drop(receiver.tasks.spawn(task.in_current_span()));
}

/// A settlement that is tried again. However it ends, by a panic or with the runtime, nothing of it stays behind.
struct Pending {
    receiver: Arc<Receiver>,
    held: Held,
    settlement: Settlement,
}

impl Drop for Pending {
    fn drop(&mut self) {
        match self.settlement {
            Settlement::Complete => self.receiver.background.told(&self.held.key),
            Settlement::Release if self.held.unconfirmed => {
                self.receiver.background.release_orphan(&self.held.key);
            }
            Settlement::Release => {}
        }
        self.receiver.waiting.ring(&self.held.key);
    }
}

impl Pending {
    async fn retry(&self) {
        let Self { receiver, held, settlement } = self;
        let settings = &receiver.settings;
        let start = Instant::now();
        let give_up = start
            + match settlement {
                Settlement::Complete => settings.lease_ceiling,
                Settlement::Release => settings.lease,
            };
        // A claim that is not there may still be on its way: it is looked for a little longer.
        let orphan_may_come = start + settings.store_timeout * 3;
        let mut pause = PAUSE.0;
        loop {
            let turn = receiver.background.turns.acquire().await;
            let answer = once(receiver, held, *settlement).await;
            drop(turn);
            let next = Instant::now() + pause;
            match (answer, settlement) {
                (Ok(Settled::Applied), _) => return,
                // Somebody else runs it; if that fails, it is to be completed all the same.
                (Ok(Settled::Lost), Settlement::Complete) if held.unconfirmed && next < give_up => {}
                (Ok(Settled::Lost), Settlement::Complete) => return measure::lost(),
                (Ok(Settled::Lost), Settlement::Release) if held.unconfirmed && next < orphan_may_come => {}
                // It may have been an earlier try that gave it back.
                (Ok(Settled::Lost), Settlement::Release) => return,
                (Err(error), _) if next >= give_up => {
                    return measure::gave_up(settlement.operation(), &error);
                }
                (Err(error), _) => measure::store_error_again(settlement.operation(), &error),
            }
            sleep_until(next).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

async fn once(receiver: &Receiver, held: &Held, settlement: Settlement) -> Result<Settled, StoreError> {
    let settings = &receiver.settings;
    let (store, key, owner) = (&settings.store, &held.key, held.request.owner);
    if settlement == Settlement::Release {
        return ask(settings, store.release(key, owner)).await;
    }
    if held.unconfirmed {
        // The claim may never have been written, and only a claim can be completed.
        let claim = ask(settings, store.claim(key, &held.request)).await?;
        match claim.state {
            ClaimState::Done => return Ok(Settled::Applied),
            ClaimState::InFlight { .. } => return Ok(Settled::Lost),
            ClaimState::Claimed { .. } => {}
        }
        if !claim.fingerprint_matches && settings.id_reuse_policy != IdReusePolicy::Acknowledge {
            // What is known under this id is another event, which was not handled.
            let _ = ask(settings, store.release(key, owner)).await?;
            return Ok(Settled::Applied);
        }
    }
    ask(settings, store.complete(key, owner, settings.retention)).await
}

impl Settlement {
    const fn operation(self) -> Operation {
        match self {
            Self::Complete => Operation::Complete,
            Self::Release => Operation::Release,
        }
    }
}
