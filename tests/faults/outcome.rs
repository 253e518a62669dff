//! The outcome of a scenario, and the checks of it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::Write as _;
use std::time::Duration;

use http::StatusCode;
use roomz_tests::fleet::{Fleet, Run, Settings};
use roomz_tests::sender::{Delivered, Request, Sent};

use crate::faults::evidence::{Evidence, History};

/// The delay that a busy machine with two cores may add.
const SLACK: Duration = Duration::from_secs(3);
/// The maximum time from the end of a fault to the first accepted event.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The events that may run more than once, apart from those whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reruns {
    /// None.
    None,
    /// Events whose receiver was killed before they were accepted.
    OfKilled,
    /// Events whose lease ended while the store was down, so that their completion could not be recorded.
    AfterLeaseEnd,
    /// Events of a receiver that paused until their lease ended. It may run events that another one has
    /// handled.
    OfPaused,
    /// Events that were running, or had just completed, when their master failed. Replication is
    /// asynchronous, so the replica may not know their claims.
    LostByFailover {
        /// The maximum number of these events.
        at_most: usize,
    },
}

pub(crate) struct Outcome {
    allowed: Reruns,
    settings: Settings,
    history: History,
    events: usize,
    requests: Vec<Request>,
    recovery: Option<Duration>,
    /// The longest time from the first request of an event until it was accepted.
    slowest_event: Duration,
    has_fault: bool,
    /// Events that were not accepted, or were accepted although no handler succeeded.
    lost: Vec<String>,
    /// Events that ran without a claim.
    unclaimed: Vec<Run>,
    failed_runs: usize,
    /// Failed runs that were repeated so late that the claim may have been taken over instead of released.
    repeated_late: usize,
    /// Events that ran again although the handler did not fail.
    rerun: Vec<Vec<Run>>,
    /// Events with a run that started after they were accepted.
    rerun_after_accepted: Vec<Vec<Run>>,
    /// Events that ran again although no receiver was killed while it ran them, and the handler did not fail.
    unexplained: Vec<Vec<Run>>,
    /// Events whose attempt number did not increase.
    disordered: Vec<Vec<Run>>,
    highest_attempt: u32,
}

impl Outcome {
    pub(crate) fn of(
        sent: Sent,
        fleet: &Fleet,
        settings: Settings,
        fault_ended: Option<u128>,
        allowed: Reruns,
    ) -> Self {
        let history = History::of(fleet, settings);
        let mut runs: HashMap<String, Vec<Run>> = HashMap::new();
        for run in fleet.runs() {
            runs.entry(run.id.clone()).or_default().push(run);
        }
        runs.values_mut().for_each(|runs| runs.sort_by_key(|run| run.started));
        let has_success = |id: &String| runs.get(id).is_some_and(|runs| !runs.iter().all(|run| run.fails));
        let is_lost = |id: &String, event: &Delivered| event.accepted.is_none() || !has_success(id);
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
        // The runs of an event that were repeated, without those for which `is_excused`.
        let is_repeated_unless = |runs: &[Run], is_excused: &dyn Fn(&Run) -> bool| {
            runs.split_last().is_some_and(|(_, repeated)| !repeated.iter().all(is_excused))
        };
        let is_repeated_late = |pair: &[Run]| {
            let [one, next] = pair else { return false };
            one.fails && between(one.started, next.started) > settings.lease / 2
        };
        Self {
            allowed,
            settings,
            events: sent.events.len(),
            recovery: fault_ended.zip(first).map(|(ended, first)| between(ended, first)),
            slowest_event: sent.events.values().filter_map(time_to_accept).max().unwrap_or_default(),
            has_fault: fault_ended.is_some(),
            lost,
            unclaimed: runs.values().flatten().filter(|run| !history.has_claim_of(run)).cloned().collect(),
            failed_runs: runs.values().flatten().filter(|run| run.fails).count(),
            repeated_late: runs_where(&|runs| runs.windows(2).any(is_repeated_late)).len(),
            rerun: runs_where(&|runs| is_repeated_unless(runs, &|run| run.fails)),
            rerun_after_accepted: runs_where(&|runs| runs.iter().any(is_late)),
            unexplained: runs_where(&|runs| is_repeated_unless(runs, &|run| run.fails || was_killed(run))),
            disordered: runs_where(&|runs| !runs.is_sorted_by(|one, next| one.attempt < next.attempt)),
            highest_attempt: runs.values().flatten().map(|run| run.attempt).max().unwrap_or_default(),
            requests: sent.requests,
            history,
        }
    }

    /// The number of requests that failed although their handler did not.
    fn failed(&self) -> usize {
        let has_failed =
            |status: StatusCode| !status.is_success() && status != StatusCode::INTERNAL_SERVER_ERROR;
        self.requests.iter().filter(|request| request.status.is_none_or(has_failed)).count()
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
            "{store}, {receivers} receivers, {name}: {} events, {} failed runs, {} requests, {} failed requests, \
             {} lost, {} rerun ({} of them after being accepted), most runs {most}, highest attempt {}, recovered in \
             {recovery}, slowest event {:.2} s, longest request {:.2} s, {}",
            self.events,
            self.failed_runs,
            self.requests.len(),
            self.failed(),
            self.lost.len(),
            self.rerun.len(),
            self.rerun_after_accepted.len(),
            self.highest_attempt,
            self.slowest_event.as_secs_f64(),
            self.longest(|_| true).as_secs_f64(),
            Evidence::ALL.map(|evidence| format!("{evidence:?} {}", self.history.count(evidence))).join(", "),
        );
    }

    pub(crate) fn check(&self, expected: &[Evidence]) {
        self.check_runs();
        self.check_requests();
        for evidence in expected {
            assert!(self.history.count(*evidence) > 0, "the fault did not cause a {evidence:?}");
        }
    }

    fn check_runs(&self) {
        assert_eq!(self.lost, [""; 0], "lost");
        assert_none(&self.unclaimed, "run without a claim");
        if !matches!(self.allowed, Reruns::LostByFailover { .. }) {
            assert_none(&self.history.settled_after_takeover(), "settled after another owner's claim");
        }
        // The last calls of a killed process are not in the log.
        if self.allowed != Reruns::OfKilled {
            assert_none(&self.history.in_flight_for_itself(), "in flight although nobody else claimed it");
        }
        assert!(self.failed_runs > 0, "no handler failed");
        assert!(
            self.repeated_late * 2 <= self.failed_runs,
            "{} of {} failed runs were repeated late: their claims were not released",
            self.repeated_late,
            self.failed_runs
        );
        if !matches!(self.allowed, Reruns::OfPaused | Reruns::LostByFailover { .. }) {
            assert_none(&self.disordered, "attempt number did not increase");
        }
        match self.allowed {
            Reruns::None => {
                assert_none(&self.rerun, "run more than once");
                assert_eq!(self.history.count(Evidence::Takeover), 0, "claims whose lease ended");
            }
            Reruns::OfKilled => {
                assert_none(&self.unexplained, "run again although no receiver was killed");
                assert_none(&self.rerun_after_accepted, "run again after being accepted");
                assert!(!self.rerun.is_empty(), "no event of a killed receiver ran again");
            }
            Reruns::OfPaused => assert!(!self.rerun.is_empty(), "no event of the paused receiver ran again"),
            Reruns::AfterLeaseEnd => {}
            Reruns::LostByFailover { at_most } => assert!(
                self.rerun.len() <= at_most,
                "{} events ran again, more than the {at_most} of the time of the failure",
                self.rerun.len()
            ),
        }
    }

    fn check_requests(&self) {
        let settings = self.settings;
        if self.has_fault {
            assert!(self.failed() > 0, "no request failed during the fault");
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

fn assert_none<T: Debug>(found: &[T], what: &str) {
    assert!(found.is_empty(), "{what}: {} times, such as {:#?}", found.len(), found.first());
}
