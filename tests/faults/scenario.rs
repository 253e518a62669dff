//! One scenario: receivers and a sender on one store, a fault, and the checks.

use std::time::Duration;

use roomz_tests::fleet::{Fleet, Settings};
use roomz_tests::sender::{self, REQUEST_TIMEOUT, Sender};
use roomz_tests::{few_at_a_time, rounds};
use tokio::sync::SemaphorePermit;

use crate::faults::evidence::{Evidence, History};
use crate::faults::outcome::{Outcome, Reruns};

/// The duration of a fault. The lease is so much longer that a completion is recorded in time, although it is
/// retried with backoff.
pub(crate) const FAULT_DURATION: Duration = Duration::from_millis(800);
const LEASE: Duration = Duration::from_secs(3);
/// A fault is repeated until it left its evidence: on a busy machine, it may begin when no handler runs.
pub(crate) const FAULTS_MAX: usize = 8;

/// The number of events accepted before the fault, and again after it.
fn events_per_phase() -> usize {
    rounds(150, 3_000)
}
/// Enough to keep two or three receivers busy.
pub(crate) const CONNECTIONS: usize = 24;

/// The settings for a fault of the store.
pub(crate) fn settings() -> Settings {
    Settings {
        store_timeout: Duration::from_millis(400),
        lease: LEASE,
        duplicate_wait: Duration::from_millis(800),
        // Long enough for most connections to wait for a handler when the fault begins, so that completions
        // fail.
        handler_time: Duration::from_millis(100),
        long_handler_time: Duration::ZERO,
        request_timeout: REQUEST_TIMEOUT,
    }
}

pub(crate) struct Scenario {
    pub(crate) fleet: Fleet,
    pub(crate) sender: Sender,
    name: &'static str,
    store: &'static str,
    settings: Settings,
    fault_ended: Option<u128>,
    _permit: SemaphorePermit<'static>,
}

impl Scenario {
    /// Starts the receivers on the store with this URL, and waits until enough events are accepted.
    pub(crate) async fn start(
        (name, store): (&'static str, &'static str),
        url: &str,
        receivers: usize,
        settings: Settings,
    ) -> Self {
        let permit = few_at_a_time().await;
        let fleet = Fleet::start(env!("CARGO_BIN_EXE_receiver"), receivers, settings.arguments(url));
        let sender = Sender::start(fleet.targets(), CONNECTIONS, settings.request_timeout);
        sender.wait_for_accepted(events_per_phase()).await;
        Self { fleet, sender, name, store, settings, fault_ended: None, _permit: permit }
    }

    /// Call this when the fault has ended. Waits until enough further events are accepted.
    pub(crate) async fn recover(&mut self) {
        self.fault_ended = Some(sender::now());
        self.sender.wait_for_accepted(events_per_phase()).await;
    }

    /// Whether the receivers have logged each evidence.
    pub(crate) fn shows(&self, expected: &[Evidence]) -> bool {
        let history = History::of(&self.fleet, self.settings);
        expected.iter().all(|evidence| history.count(*evidence) > 0)
    }

    /// Stops sending, prints the report, and checks the outcome and each expected evidence.
    pub(crate) async fn finish(self, allowed: Reruns, expected: &[Evidence]) {
        let sent = self.sender.finish().await;
        let outcome = Outcome::of(sent, &self.fleet, self.settings, self.fault_ended, allowed);
        outcome.report(self.name, self.store, self.fleet.count());
        outcome.check(expected);
    }
}
