use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use crate::ask::ask;
use crate::claim::Held;
use crate::layer::Receiver;
use crate::measure::{self, Operation};
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
        receiver.background.handled(&held.key);
    }
    let task = {
        let receiver = Arc::clone(receiver);
        async move {
            retry(&receiver, &held, settlement).await;
            match settlement {
                Settlement::Complete => receiver.background.told(&held.key),
                Settlement::Release if orphan => receiver.background.release_orphan(&held.key),
                Settlement::Release => {}
            }
            receiver.waiting.ring(&held.key);
        }
    };
    drop(receiver.tasks.spawn(task.in_current_span()));
}

async fn retry(receiver: &Receiver, held: &Held, settlement: Settlement) {
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
        let answer = once(receiver, held, settlement).await;
        let now = Instant::now();
        match answer {
            Ok(Settled::Applied) => return,
            Ok(Settled::Lost) => match settlement {
                Settlement::Complete if held.unconfirmed => return,
                Settlement::Complete => return measure::lost(),
                Settlement::Release if held.unconfirmed && now < orphan_may_come => {}
                // It may have been an earlier try that gave it back.
                Settlement::Release => return,
            },
            Err(error) if now + pause >= give_up => {
                return measure::gave_up(settlement.operation(), &error);
            }
            Err(error) => measure::store_error_again(settlement.operation(), &error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn once(receiver: &Receiver, held: &Held, settlement: Settlement) -> Result<Settled, StoreError> {
    let settings = &receiver.settings;
    let (store, key, owner) = (&settings.store, &held.key, held.request.owner);
    match settlement {
        Settlement::Release => ask(settings, store.release(key, owner)).await,
        Settlement::Complete => {
            if held.unconfirmed {
                // The claim may never have been written, and only a claim can be completed.
                let claim = ask(settings, store.claim(key, &held.request)).await?;
                if !matches!(claim.state, ClaimState::Claimed { .. }) {
                    return Ok(Settled::Lost);
                }
            }
            ask(settings, store.complete(key, owner, settings.retention)).await
        }
    }
}

impl Settlement {
    const fn operation(self) -> Operation {
        match self {
            Self::Complete => Operation::Complete,
            Self::Release => Operation::Release,
        }
    }
}
