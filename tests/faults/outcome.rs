//! The outcome of a scenario, and the checks of it.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use roomz_tests::fleet::{Fleet, Run, Settings};
use roomz_tests::sender::{Delivered, Request, Sent};

/// The delay that a busy machine with two cores may add.
const SLACK: Duration = Duration::from_secs(3);
/// The maximum time from the end of a fault to the first accepted event.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The events that may run more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reruns {
    /// None.
    None,
    /// Events whose receiver was killed before they were accepted.
    OfKilled,
    /// Events whose lease ended while the store was down, so that their completion could not be recorded.
    AfterLeaseEnd,
    /// Events of a receiver that paused until their lease ended. It may run events that another one has handled.
    OfPaused,
    /// Events that were running, or had just completed, when their master failed. Replication is asynchronous, so the
    /// replica may not know their claims.
    LostByFailover {
        /// The maximum number of these events.
        at_most: usize,
    },
}

pub(crate) struct Outcome {
    allowed: Reruns,
    events: usize,
    requests: Vec<Request>,
    recovery: Option<Duration>,
    /// The longest time from the first request of an event until it was accepted.
    slowest_event: Duration,
    has_fault: bool,
    /// Events that were not accepted, or were accepted without a run.
    lost: Vec<String>,
    /// Events with more than one run.
    rerun: Vec<Vec<Run>>,
    /// Events with a run that started after they were accepted.
    rerun_after_accepted: Vec<Vec<Run>>,
    /// Events that ran again although no receiver was killed while it ran them.
    unexplained: Vec<Vec<Run>>,
    /// Events whose attempt number did not increase.
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
        let time_to_accept = |event: &Delivered| Some(between(event.first_sent, event.accepted?));
        let runs_where = |is_true: &dyn Fn(&[Run]) -> bool| -> Vec<Vec<Run>> {
            runs.values().filter(|runs| is_true(runs)).cloned().collect()
        };
        let is_late = |run: &Run| {
            let accepted = sent.events.get(&run.id).and_then(|event| event.accepted);
            accepted.is_some_and(|accepted| run.started > accepted)
        };
        let was_killed = |run: &Run| fleet.killed().contains(&run.process);
        Self {
            allowed,
            events: sent.events.len(),
            recovery: fault_ended.zip(first).map(|(ended, first)| between(ended, first)),
            slowest_event: sent.events.values().filter_map(time_to_accept).max().unwrap_or_default(),
            has_fault: fault_ended.is_some(),
            lost,
            rerun: runs_where(&|runs| runs.len() > 1),
            rerun_after_accepted: runs_where(&|runs| runs.iter().any(is_late)),
            unexplained: runs_where(&|runs| {
                runs.split_last().is_some_and(|(_, runs)| !runs.iter().all(was_killed))
            }),
            disordered: runs_where(&|runs| !runs.is_sorted_by(|one, next| one.attempt < next.attempt)),
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
        let requests = self.requests.iter().filter(|request| which(request));
        requests.map(|request| request.duration).max().unwrap_or_default()
    }

    /// Prints one line to standard error, past the output capture of the test runner.
    pub(crate) fn report(&self, name: &str, store: &str, receivers: usize) {
        let most = self.rerun.iter().map(Vec::len).max().unwrap_or(1);
        let recovery = self.recovery.map_or("-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()));
        let _ = writeln!(
            std::io::stderr(),
            "{store}, {receivers} receivers, {name}: {} events, {} requests, {} not 2xx, {} lost, {} rerun \
             ({} of them after being accepted), most runs {most}, highest attempt {}, recovered in {recovery}, slowest \
             event {:.2} s, longest request {:.2} s",
            self.events,
            self.requests.len(),
            self.failed(),
            self.lost.len(),
            self.rerun.len(),
            self.rerun_after_accepted.len(),
            self.highest_attempt,
            self.slowest_event.as_secs_f64(),
            self.longest(|_| true).as_secs_f64(),
        );
    }

    pub(crate) fn check(&self, settings: Settings) {
        assert_eq!(self.lost, [""; 0], "lost");
        if !matches!(self.allowed, Reruns::OfPaused | Reruns::LostByFailover { .. }) {
            assert_none(&self.disordered, "attempt number did not increase");
        }
        match self.allowed {
            Reruns::None => assert_none(&self.rerun, "run more than once"),
            Reruns::OfKilled => {
                assert_none(&self.unexplained, "run again although no receiver was killed");
                assert_none(&self.rerun_after_accepted, "run again after being accepted");
            }
            Reruns::AfterLeaseEnd | Reruns::OfPaused => {}
            Reruns::LostByFailover { at_most } => assert!(
                self.rerun.len() <= at_most,
                "{} events ran again, more than the {at_most} of the time of the failure",
                self.rerun.len()
            ),
        }
        if self.has_fault {
            assert!(
                self.failed() > 0 || self.allowed == Reruns::OfPaused,
                "no request failed during the fault"
            );
            assert!(
                self.recovery.is_some_and(|time| time < RECOVERY_TIMEOUT),
                "no event accepted within {RECOVERY_TIMEOUT:?} of the fault: {:?}",
                self.recovery
            );
        }
        // Two claims with a wait between them, the handler, and the completion.
        let handler = settings.handler_time.max(settings.long_handler_time);
        let max_any = settings.duplicate_wait + settings.store_timeout * 3 + handler + SLACK;
        assert!(self.longest(|_| true) <= max_any, "a request took {:?}", self.longest(|_| true));
        let max_alone = settings.store_timeout * 2 + handler + SLACK;
        let longest = self.longest(|request| request.alone);
        assert!(longest <= max_alone, "a request without a concurrent one took {longest:?}");
    }
}

fn between(one: u128, other: u128) -> Duration {
    Duration::from_micros(other.saturating_sub(one).try_into().unwrap_or(u64::MAX))
}

fn assert_none(events: &[Vec<Run>], what: &str) {
    assert!(events.is_empty(), "{what}: {} events, such as {:#?}", events.len(), events.first());
}
