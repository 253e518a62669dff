//! Receivers and a sender on one store, from the first event to the verdict.

use std::time::Duration;

use roomz_tests::fleet::{Fleet, Settings};
use roomz_tests::sender::{self, Sender};
use tokio::sync::{Mutex, MutexGuard};

use crate::outcome::{Outcome, Reruns};

/// How long the store or the network fails, and how long a claim lasts: so much longer that the completion of what ran
/// when the fault began is told in time, although it is tried at ever longer intervals.
pub(crate) const FAULT: Duration = Duration::from_millis(800);
const LEASE: Duration = Duration::from_secs(3);

/// So many events are accepted before the fault, and as many after it.
const BEFORE_AND_AFTER: usize = 1_000;
/// Enough for two or three receivers to be busy all the time.
const CONNECTIONS: usize = 24;

/// One at a time: they use real time, and all of the machine.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The settings where the store fails.
pub(crate) fn settings() -> Settings {
    Settings {
        store_timeout: Duration::from_millis(400),
        lease: LEASE,
        duplicate_wait: Duration::from_millis(800),
        handler_time: Duration::from_millis(20),
        long_time: Duration::ZERO,
    }
}

pub(crate) struct Scenario {
    pub(crate) fleet: Fleet,
    pub(crate) sender: Sender,
    name: &'static str,
    store: &'static str,
    settings: Settings,
    fault_ended: Option<u128>,
    _alone: MutexGuard<'static, ()>,
}

impl Scenario {
    /// Starts so many receivers on the store of this URL, and sends until enough events are accepted.
    pub(crate) async fn start(
        (name, store): (&'static str, &'static str),
        url: &str,
        receivers: usize,
        settings: Settings,
    ) -> Self {
        let alone = ALONE.lock().await;
        let fleet = Fleet::start(env!("CARGO_BIN_EXE_receiver"), receivers, url, settings);
        let sender = Sender::start(fleet.targets(), CONNECTIONS);
        sender.accepts(BEFORE_AND_AFTER).await;
        Self { fleet, sender, name, store, settings, fault_ended: None, _alone: alone }
    }

    /// To be called when the fault has ended: sends until enough events more are accepted.
    pub(crate) async fn goes_on(&mut self) {
        self.fault_ended = Some(sender::now());
        self.sender.accepts(BEFORE_AND_AFTER).await;
    }

    /// Ends, says what happened, and fails when it must not have.
    pub(crate) async fn finish(self, allowed: Reruns) {
        let sent = self.sender.finish().await;
        let outcome = Outcome::of(sent, &self.fleet, self.fault_ended, allowed);
        outcome.report(self.name, self.store, self.fleet.count());
        outcome.check(self.settings);
    }
}
