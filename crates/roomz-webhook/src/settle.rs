use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::claim::Held;
use crate::layer::Receiver;
use crate::measure::{self, Operation};
use crate::store::{Settled, StoreError};

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
        Ok(settled) => settled_as(receiver, &held, settled),
        Err(error) => {
            measure::store_error(settlement.operation(), &error);
            in_background(receiver, held, settlement);
        }
    }
}

/// Settles in the background, until it succeeds or can no longer matter.
pub(crate) fn in_background(receiver: &Arc<Receiver>, held: Held, settlement: Settlement) {
    let receiver = Arc::clone(receiver);
    let give_up = Instant::now()
        + match settlement {
            Settlement::Complete => receiver.settings.lease_ceiling,
            Settlement::Release => receiver.settings.lease,
        };
    let tasks = receiver.tasks.clone();
    tasks.spawn(async move {
        let mut pause = PAUSE.0;
        loop {
            match once(&receiver, &held, settlement).await {
                Ok(settled) => return settled_as(&receiver, &held, settled),
                Err(error) if Instant::now() + pause >= give_up => {
                    measure::store_error(settlement.operation(), &error);
                    return receiver.waiting.ring(&held.key);
                }
                Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    });
}

async fn once(receiver: &Receiver, held: &Held, settlement: Settlement) -> Result<Settled, StoreError> {
    let settings = &receiver.settings;
    let operation = match settlement {
        Settlement::Complete => settings.store.complete(&held.key, held.owner, settings.retention),
        Settlement::Release => settings.store.release(&held.key, held.owner),
    };
    timeout(settings.store_timeout, operation).await.unwrap_or_else(|_| Err(StoreError::timed_out()))
}

fn settled_as(receiver: &Receiver, held: &Held, settled: Settled) {
    if settled == Settled::Lost && !held.unconfirmed {
        measure::lost(held.key.id());
    }
    receiver.waiting.ring(&held.key);
}

impl Settlement {
    const fn operation(self) -> Operation {
        match self {
            Self::Complete => Operation::Complete,
            Self::Release => Operation::Release,
        }
    }
}
