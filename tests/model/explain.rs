//! The checker of histories: a recorded call, what happened to the server, and whether some order of the
//! calls explains the replies.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use roomz_tests::Server;

use super::rule::{Call, Event, Lease, Moment, Reply, Without};

/// A store has a resolution of one millisecond, and its clock is not ours.
const TOLERANCE: u64 = 2_000_000;
const MAX_TRIED: usize = 20_000;
/// The time of the first call. A clock that is set back is not before 0.
const FIRST: u64 = 1_000_000_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) owner: u8,
    pub(super) call: Call,
    pub(super) begin: u64,
    /// The latest time at which it took effect.
    pub(super) end: u64,
    /// `None`: it may have taken effect or not.
    pub(super) reply: Option<Reply>,
}

/// What happened to the server besides the calls.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) clocks: Mutex<Vec<Clock>>,
    /// Between these times a replica took over.
    pub(super) failovers: Mutex<Vec<Moment>>,
}

/// Between these times, the server's clock may have been ahead of ours by this.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) ahead: i64,
}

impl Default for Timeline {
    fn default() -> Self {
        let clock = Clock { begin: 0, end: u64::MAX, ahead: 0 };
        Self { clocks: Mutex::new(vec![clock]), failovers: Mutex::default() }
    }
}

impl Timeline {
    pub(super) fn set_clock(&self, server: &Server, seconds: i64) {
        self.clocks.lock().unwrap().push(Clock {
            begin: now(),
            end: u64::MAX,
            ahead: seconds * 1_000_000_000,
        });
        server.set_clock(seconds);
        if let [.., previous, _] = &mut self.clocks.lock().unwrap()[..] {
            previous.end = now();
        }
    }

    /// How far the server's clock was ahead, at least and at most.
    pub(super) fn ahead(&self, begin: u64, end: u64) -> [i64; 2] {
        let clocks = self.clocks.lock().unwrap();
        let during = clocks.iter().rev().take_while(|clock| clock.end >= begin);
        let ahead = during.filter(|clock| clock.begin <= end).map(|clock| clock.ahead);
        [ahead.clone().min().unwrap(), ahead.max().unwrap()]
    }

    /// When the call took effect, by the server's clock.
    pub(super) fn moment(&self, record: &Record) -> Moment {
        let [least, most] = self.ahead(record.begin, record.end);
        Moment {
            begin: record.begin.saturating_add_signed(least),
            end: record.end.saturating_add_signed(most),
        }
    }

    /// The failovers that were not over at the first time, and had begun at the other.
    pub(super) fn failovers(&self, begin: u64, end: u64) -> Vec<Moment> {
        let failovers = self.failovers.lock().unwrap();
        failovers.iter().filter(|failover| failover.begin < end && failover.end > begin).copied().collect()
    }
}

/// Whether some order of the calls explains the replies: a call that ended before another began comes first.
/// By a failover, the event may return to an earlier state, because replication is asynchronous.
///
/// Tries each order, and each state of the event after the same calls once. `None` after `MAX_TRIED` states
/// (many calls with an unknown effect have too many orders), and if there was a second failover.
pub(super) fn is_explained(history: &[Record], timeline: &Timeline) -> Option<bool> {
    let calls = Vec::from_iter(history.iter().map(|record| (record, timeline.moment(record))));
    let (begin, end) = interval(history);
    let failover = match timeline.failovers(begin, end)[..] {
        [] => None,
        [failover] => Some(failover),
        _ => return None,
    };
    let failed_over = 1 << calls.len();
    let first = Progress { done: failover.map_or(failed_over, |_| 0), ..Progress::default() };
    let mut reached = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(progress) = open.pop() {
        if reached.len() > MAX_TRIED {
            return None;
        }
        let is_left = |index: usize| progress.done & (1 << index) == 0;
        let left = || calls.iter().enumerate().filter(|(index, _)| is_left(*index));
        let ends =
            left().filter(|(_, (record, _))| record.reply.is_some()).map(|(_, (record, _))| record.end);
        let pending = failover.filter(|_| is_left(calls.len()));
        let Some(first_end) = ends.chain(pending.map(|failover| failover.end)).min() else {
            return Some(true);
        };
        for (index, (record, moment)) in left().filter(|(_, (record, _))| record.begin < first_end) {
            let event = progress.event;
            for (reply, after) in event.replies(record.owner, record.call, *moment, Without::Nothing) {
                if record.reply.is_none_or(|seen| seen == reply) {
                    let after = if after == event { after } else { tolerant(after) };
                    let next = progress.after(1 << index, after, pending.is_some());
                    if reached.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
        }
        if pending.is_some_and(|failover| failover.begin < first_end) {
            for event in progress.earlier.iter().copied().chain([progress.event]) {
                let next = progress.after(failed_over, event, false);
                if reached.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    Some(false)
}

/// The calls that took effect, the event after them, and its states before a failover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) event: Event,
    pub(super) earlier: Vec<Event>,
}

impl Progress {
    pub(super) fn after(&self, done: u64, event: Event, keeps_earlier: bool) -> Self {
        let mut earlier = if keeps_earlier { self.earlier.clone() } else { Vec::new() };
        if keeps_earlier && event != self.event {
            earlier.push(self.event);
        }
        Self { done: self.done | done, event, earlier }
    }
}

/// The time of the first call, and the time when the last one ended.
pub(super) fn interval(history: &[Record]) -> (u64, u64) {
    let ends = history.iter().filter(|record| record.reply.is_some()).map(|record| record.end);
    let begins = history.iter().map(|record| record.begin);
    (begins.clone().min().unwrap(), begins.chain(ends).max().unwrap())
}

pub(super) fn tolerant(event: Event) -> Event {
    match event {
        Event::Running { owner, attempt, lease: Lease { earliest, latest } } => {
            let lease = Lease {
                earliest: earliest.saturating_sub(TOLERANCE),
                latest: latest.saturating_add(TOLERANCE),
            };
            Event::Running { owner, attempt, lease }
        }
        other => other,
    }
}

/// The time in nanoseconds. No two are the same, so that they tell which call came first.
pub(super) fn now() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    static LAST: AtomicU64 = AtomicU64::new(0);
    let time = FIRST + u64::try_from(EPOCH.elapsed().as_nanos()).unwrap();
    let after = |last: u64| time.max(last + 1);
    after(LAST.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(after(last))).unwrap())
}

/// After a failover, an event is as it was at some time before: not one of its calls is lost without the
/// calls that came later.
#[test]
fn failover_loses_last_calls_only() {
    let claim = Call::Claim { lease: 1_000_000_000 };
    let calls = |last| [(0, claim, Reply::Claimed(1)), (0, Call::Release, Reply::Applied), (1, claim, last)];
    let is_explained = |last, failovers: Vec<Moment>| {
        let record = |(index, (owner, call, reply)): (u64, (u8, Call, Reply))| {
            let begin = FIRST + 10 * index;
            Record { owner, call, begin, end: begin + 1, reply: Some(reply) }
        };
        let history = Vec::from_iter((0..).zip(calls(last)).map(record));
        is_explained(&history, &Timeline { failovers: Mutex::new(failovers), ..Timeline::default() })
    };
    let failover = Moment { begin: FIRST + 12, end: FIRST + 19 };
    let explained = |last| [Vec::new(), vec![failover]].map(|failovers| is_explained(last, failovers));
    assert_eq!(explained(Reply::Claimed(2)), [Some(true); 2]);
    // The release was lost, or the claim too.
    assert_eq!(explained(Reply::InFlight), [Some(false), Some(true)]);
    assert_eq!(explained(Reply::Claimed(1)), [Some(false), Some(true)]);
    assert_eq!(explained(Reply::Done), [Some(false); 2]);
    assert_eq!(explained(Reply::Claimed(3)), [Some(false); 2]);
}
