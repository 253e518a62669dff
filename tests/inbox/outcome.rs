//! The checks that hold after every fault.

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::Write as _;
use std::time::Duration;

use http::StatusCode;
use roomz_tests::fleet::Run;
use roomz_tests::inbox::InboxSettings;

use crate::inbox::database::State;
use crate::inbox::history::{EventHistory, History};

/// The messages of `roomz-inbox` for an attempt that ended without a success.
const UNSUCCESSFUL: [&str; 2] = ["attempt failed", "attempt ended without a result"];

pub(crate) struct Outcome {
    pub(crate) history: History,
    pub(crate) settings: InboxSettings,
    /// The ids of the killed processes.
    pub(crate) killed: HashSet<u32>,
}

/// Why the handler of an event was called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The handler returned an error.
    HandlerFailed,
    /// The process of the call was killed.
    ProcessKilled,
    /// The process of the call logged that the attempt failed, or ended without a result.
    Logged,
    Unknown,
}

impl Outcome {
    /// Prints one line to standard error, past the output capture of the test runner.
    pub(crate) fn report(&self, name: &str, time: Duration) {
        let history = &self.history;
        let events = || history.events.values();
        let calls: usize = events().map(|event| event.calls.len()).sum();
        let reasons: Vec<_> =
            events().flat_map(|event| self.reasons(event)).map(|(_, reason)| reason).collect();
        let count = |reason| reasons.iter().filter(|&&other| other == reason).count();
        let longest = history.requests.iter().map(|request| request.duration).max().unwrap_or_default();
        let _ = writeln!(
            std::io::stderr(),
            "{name}: {} events ({} accepted), {} requests (202: {}, 200: {}, 503: {}, broken: {}), {} processes killed, {} events \
             done, {} dead letters, {} lost, {} with two rows, {calls} calls, {} beyond one per event (handler failed: {}, \
             process killed: {}, logged: {}, unknown: {}), {} attempts without a call, longest request {:.2} s, {:.1} s",
            events().filter(|event| event.was_sent).count(),
            events().filter(|event| event.was_accepted).count(),
            history.requests.len(),
            history.requests_with(Some(StatusCode::ACCEPTED)),
            history.requests_with(Some(StatusCode::OK)),
            history.requests_with(Some(StatusCode::SERVICE_UNAVAILABLE)),
            history.requests_with(None),
            self.killed.len(),
            events().filter(|event| event.is(State::Done)).count(),
            events().filter(|event| event.is(State::Dead)).count(),
            events().filter(|event| event.is_lost()).count(),
            events().filter(|event| event.rows.len() > 1).count(),
            reasons.len(),
            count(Reason::HandlerFailed),
            count(Reason::ProcessKilled),
            count(Reason::Logged),
            count(Reason::Unknown),
            events().map(EventHistory::attempts_without_call).sum::<usize>(),
            longest.as_secs_f64(),
            time.as_secs_f64(),
        );
    }

    pub(crate) fn check(&self) {
        let limit = self.settings.max_attempts;
        self.none("not accepted although the sender retried", |event| event.was_sent && !event.was_accepted);
        self.none("acknowledged but never done", EventHistory::is_lost);
        self.none("two rows of one event", |event| event.rows.len() > 1);
        self.none("a row although the event is not done", |event| {
            !event.rows.is_empty() && !event.is(State::Done)
        });
        self.none("a row that is not of the last attempt", |event| !event.has_row_of_last_attempt());
        self.none("two calls with one attempt number, or a call without an attempt", |event| {
            let attempts: HashSet<_> = event.calls.iter().map(|call| call.attempt).collect();
            attempts.len() < event.calls.len() || attempts.iter().any(|attempt| *attempt > event.attempts())
        });
        self.none("called again without a reason", |event| {
            self.reasons(event).iter().any(|(_, reason)| *reason == Reason::Unknown)
        });
        self.none("a dead letter that kills no process", |event| event.is(State::Dead) && !event.is_killing);
        self.none("an event that kills its process is no dead letter at the limit", |event| {
            let has_reason = |error: &String| error.contains("the last attempt did not end");
            let error = event.entry.as_ref().and_then(|entry| entry.error.as_ref());
            // It is taken once more, to record the dead letter.
            let is_at_limit = (limit..=limit + 1).contains(&event.attempts());
            event.is_killing && !(event.is(State::Dead) && is_at_limit && error.is_some_and(has_reason))
        });
        self.none("more calls than the limit", |event| event.calls.len() > limit as usize);
        let failed =
            self.history.events.values().flat_map(|event| &event.calls).filter(|call| call.fails).count();
        assert!(failed > 0, "no handler failed");
        assert!(self.history.requests_with(Some(StatusCode::OK)) > 0, "no duplicate was sent");
    }

    /// Asserts that the calls of each event started in the order of their attempt numbers.
    pub(crate) fn check_order(&self) {
        self.none("calls not in the order of the attempts", |event| {
            !event.calls.is_sorted_by(|one, next| one.attempt < next.attempt)
        });
    }

    /// The calls of other than killing events whose process was killed, and that were repeated.
    pub(crate) fn interrupted_by_kill(&self) -> usize {
        let events = self.history.events.values().filter(|event| !event.is_killing);
        events
            .flat_map(|event| self.reasons(event))
            .filter(|(_, reason)| *reason == Reason::ProcessKilled)
            .count()
    }

    /// Inserts of handlers that were lost although the handler did not fail: the database failed.
    pub(crate) fn rolled_back_by_failure(&self) -> usize {
        let is_lost = |event: &EventHistory| {
            let repeated = self.reasons(event);
            let is_effect = |call: &Run| {
                let mut effects = event.effects.iter();
                effects.any(|effect| effect.attempt == call.attempt && effect.process == call.process)
            };
            repeated.iter().filter(|(call, reason)| *reason == Reason::Logged && is_effect(call)).count()
        };
        self.history.events.values().map(is_lost).sum()
    }

    fn none(&self, what: &str, is_true: impl Fn(&EventHistory) -> bool) {
        let found: Vec<_> = self.history.events.iter().filter(|(_, event)| is_true(event)).collect();
        assert!(found.is_empty(), "{what}: {} times, such as {:#?}", found.len(), found.first());
    }

    /// All calls of an event that were followed by another one, and why.
    fn reasons<'a>(&self, event: &'a EventHistory) -> Vec<(&'a Run, Reason)> {
        let last = event.calls.iter().map(|call| call.attempt).max();
        let repeated = event.calls.iter().filter(|call| Some(call.attempt) != last);
        repeated
            .map(|call| {
                let reason = if call.fails {
                    Reason::HandlerFailed
                } else if self.killed.contains(&call.process) {
                    Reason::ProcessKilled
                } else if event.has_unsuccessful_line(call) {
                    Reason::Logged
                } else {
                    Reason::Unknown
                };
                (call, reason)
            })
            .collect()
    }
}

impl EventHistory {
    pub(crate) fn is(&self, state: State) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.state == state)
    }

    /// The attempts that the inbox has counted.
    pub(crate) fn attempts(&self) -> u32 {
        self.entry.as_ref().map_or(0, |entry| entry.attempts)
    }

    /// Acknowledged, but without an effect, and no dead letter with a reason.
    fn is_lost(&self) -> bool {
        let is_done = self.is(State::Done) && !self.rows.is_empty();
        let has_reason = self.entry.as_ref().is_some_and(|entry| entry.error.is_some());
        self.was_accepted && !is_done && !(self.is(State::Dead) && has_reason)
    }

    /// Whether the attempt that inserted the row is the last one that the inbox has counted, and its handler
    /// was called.
    fn has_row_of_last_attempt(&self) -> bool {
        self.rows.iter().all(|row| {
            let is_of_row = |call: &Run| call.attempt == row.attempt && call.process == row.process;
            row.attempt == self.attempts() && self.calls.iter().any(is_of_row)
        })
    }

    /// Attempts whose process ended, or whose take was not confirmed, before the handler was called.
    fn attempts_without_call(&self) -> usize {
        (self.attempts() as usize).saturating_sub(self.calls.len() + usize::from(self.is(State::Dead)))
    }

    fn has_unsuccessful_line(&self, call: &Run) -> bool {
        self.lines.iter().any(|line| {
            line.process == call.process
                && line.time >= call.started
                && UNSUCCESSFUL.contains(&line.message.as_str())
        })
    }
}
