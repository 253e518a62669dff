//! What happened in a scenario, and whether it may.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use roomz_tests::fleet::{Fleet, Run, Settings};
use roomz_tests::sender::{Delivered, Request, Sent};

/// What a busy machine of two cores may add to any time.
const SLACK: Duration = Duration::from_secs(3);
/// How long it may take until the first event is accepted after a fault.
const RECOVERY: Duration = Duration::from_secs(30);

/// When an event may run more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reruns {
    /// Nothing explains it.
    Never,
    /// When the process that ran it was killed before it was accepted.
    OfTheKilled,
    /// When the store was away until the lease had ended, so that nobody could tell it.
    WhenALeaseEnded,
    /// When the process that ran it slept until its lease had ended. It may then run what others have handled.
    OfASleeper,
}

pub(crate) struct Outcome {
    allowed: Reruns,
    events: usize,
    requests: Vec<Request>,
    recovery: Option<Duration>,
    /// How long an event took from its first sending until it was accepted.
    slowest: Duration,
    fault: bool,
    /// Never accepted, or accepted and in no log.
    lost: Vec<String>,
    /// Run more than once.
    again: Vec<Vec<Run>>,
    /// Of those, started when it had been accepted.
    after_accepted: Vec<Vec<Run>>,
    /// Run more than once although nobody was killed who had it.
    unexplained: Vec<Vec<Run>>,
    /// Attempts that do not grow.
    disordered: Vec<Vec<Run>>,
    highest_attempt: u32,
}

impl Outcome {
    pub(crate) fn of(sent: Sent, fleet: &Fleet, fault_ended: Option<u128>, allowed: Reruns) -> Self {
        let mut runs: HashMap<String, Vec<Run>> = HashMap::new();
        for run in fleet.runs() {
            runs.entry(run.id.clone()).or_default().push(run);
        }
        runs.values_mut().for_each(|runs| runs.sort_by_key(|run| run.started));
        let is_lost = |id: &String, event: &Delivered| event.accepted.is_none() || !runs.contains_key(id);
        let lost = sent.events.iter().filter(|(id, event)| is_lost(id, event));
        let lost = lost.map(|(id, event)| format!("{id}: {event:?}")).collect();
        let accepted = || sent.events.values().filter_map(|event| event.accepted);
        let first = fault_ended.and_then(|ended| accepted().filter(|accepted| *accepted > ended).min());
        let waited = |event: &Delivered| Some(between(event.begun, event.accepted?));
        let those = |is_so: &dyn Fn(&[Run]) -> bool| -> Vec<Vec<Run>> {
            runs.values().filter(|runs| is_so(runs)).cloned().collect()
        };
        let late = |run: &Run| {
            let accepted = sent.events.get(&run.id).and_then(|event| event.accepted);
            accepted.is_some_and(|accepted| run.started > accepted)
        };
        let was_killed = |run: &Run| fleet.killed().contains(&run.process);
        Self {
            allowed,
            events: sent.events.len(),
            recovery: fault_ended.zip(first).map(|(ended, first)| between(ended, first)),
            slowest: sent.events.values().filter_map(waited).max().unwrap_or_default(),
            fault: fault_ended.is_some(),
            lost,
            again: those(&|runs| runs.len() > 1),
            after_accepted: those(&|runs| runs.iter().any(late)),
            unexplained: those(&|runs| {
                runs.split_last().is_some_and(|(_, runs)| !runs.iter().all(was_killed))
            }),
            disordered: those(&|runs| !runs.is_sorted_by(|one, next| one.attempt < next.attempt)),
            highest_attempt: runs.values().flatten().map(|run| run.attempt).max().unwrap_or_default(),
            requests: sent.requests,
        }
    }

    fn failed(&self) -> usize {
        self.requests
            .iter()
            .filter(|request| request.status.is_none_or(|status| !status.is_success()))
            .count()
    }

    fn longest(&self, which: impl Fn(&Request) -> bool) -> Duration {
        let which = self.requests.iter().filter(|request| which(request));
        which.map(|request| request.took).max().unwrap_or_default()
    }

    /// One line, past the test runner's capture.
    pub(crate) fn report(&self, name: &str, store: &str, receivers: usize) {
        let most = self.again.iter().map(Vec::len).max().unwrap_or(1);
        let recovery = self.recovery.map_or("-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
        let _ = writeln!(
            std::io::stderr(),
            "{store}, {receivers} receivers, {name}: {} events, {} requests, {} not 2xx, {} lost, {} run again \
             ({} of them when accepted), most runs {most}, highest attempt {}, recovered in {recovery}, slowest \
             event {:.2} s, longest request {:.2} s",
            self.events,
            self.requests.len(),
            self.failed(),
            self.lost.len(),
            self.again.len(),
            self.after_accepted.len(),
            self.highest_attempt,
            self.slowest.as_secs_f64(),
            self.longest(|_| true).as_secs_f64(),
        );
    }

    pub(crate) fn check(&self, settings: Settings) {
        assert_eq!(self.lost, [""; 0], "lost");
        if self.allowed != Reruns::OfASleeper {
            assert_none(&self.disordered, "attempts that do not grow");
        }
        match self.allowed {
            Reruns::Never => assert_none(&self.again, "run again"),
            Reruns::OfTheKilled => {
                assert_none(&self.unexplained, "run again although nobody was killed");
                assert_none(&self.after_accepted, "run again when accepted");
            }
            Reruns::WhenALeaseEnded | Reruns::OfASleeper => {}
        }
        if self.fault {
            assert!(self.failed() > 0 || self.allowed == Reruns::OfASleeper, "nobody noticed the fault");
            assert!(
                self.recovery.is_some_and(|time| time < RECOVERY),
                "it recovers late: {:?}",
                self.recovery
            );
        }
        // Asking twice, waiting in between, and completing.
        let handler = settings.handler_time.max(settings.long_time);
        let any = settings.duplicate_wait + settings.store_timeout * 3 + handler + SLACK;
        assert!(self.longest(|_| true) <= any, "a request took {:?}", self.longest(|_| true));
        let alone = settings.store_timeout * 2 + handler + SLACK;
        let longest = self.longest(|request| request.alone);
        assert!(longest <= alone, "a request that need not wait took {longest:?}");
    }
}

fn between(one: u128, other: u128) -> Duration {
    Duration::from_micros(other.saturating_sub(one).try_into().unwrap_or(u64::MAX))
}

fn assert_none(events: &[Vec<Run>], what: &str) {
    assert!(events.is_empty(), "{what}: {} events, such as {:#?}", events.len(), events.first());
}
