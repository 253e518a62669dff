//! Where a statement looks for rows that are due.
//!
//! PostgreSQL keeps the index entries of changed and deleted rows as long as any session has a snapshot from
//! before the change, and until autovacuum has removed them. A statement that looks for the rows that are due
//! first reads all of these entries. So most statements begin where the last one ended. Rows that were due
//! before that are rare: their commit was late, a transaction that locked them was rolled back, or a clock
//! moved. A *sweep* finds them, in as many steps as it takes to end each in time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomz_sql::db::dialect::Dialect;
use roomz_sql::db::value::Value;

use crate::queue::row::millis;

/// How far a statement looks back behind the end of the last one, in milliseconds: longer than most commits
/// take.
const OVERLAP: i64 = 250;
/// A sweep takes at most one part in this many of the time.
const SWEEP_FRACTION: u32 = 50;
/// A step that takes longer is followed by smaller steps.
const MAX_STEP: Duration = Duration::from_millis(200);
/// The smallest step covers one part in two to the power of this of the time up to now.
const MAX_SPLITS: u32 = 12;
/// After every `due`. The negative is before every one.
const MAX_DUE: i64 = 1 << 60;

/// Where the next statement looks. All times are values of `due`, by the clock of the database.
#[derive(Debug)]
pub(crate) struct Scan {
    /// SQLite removes index entries at once, so each statement looks everywhere.
    is_postgres: bool,
    /// What was due before it has been found. `None`: look everywhere.
    found: Option<i64>,
    /// A time of the database, and when it was that or later.
    clock: Option<(i64, Instant)>,
    sweep: Sweep,
}

#[derive(Debug)]
struct Sweep {
    /// Everything before it has been swept.
    from: i64,
    /// A step covers one part in two to the power of this of the time from `from` to now. 0: up to the end.
    splits: u32,
    is_slow: bool,
    next_step: Instant,
}

/// The rows that one statement looks at, by `due`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    start: Instant,
    from: i64,
    to: i64,
    is_sweep: bool,
    /// A step of this or of the last sweep was slow or failed.
    pub(crate) may_be_slow: bool,
}

impl Scan {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let sweep = Sweep { from: 0, splits: 0, is_slow: false, next_step: Instant::now() };
        Self { is_postgres: dialect == Dialect::Postgres, found: None, clock: None, sweep }
    }

    /// Returns where the next statement looks.
    pub(crate) fn range(&self) -> Range {
        let start = Instant::now();
        let may_be_slow = self.sweep.splits > 0;
        match self.found {
            Some(found) if self.is_postgres && self.sweep.next_step > start => {
                Range { start, from: found - OVERLAP, to: MAX_DUE, is_sweep: false, may_be_slow: false }
            }
            _ => {
                let from = if self.sweep.from > 0 { self.sweep.from } else { -MAX_DUE };
                Range { start, from, to: self.sweep.step_end(), is_sweep: true, may_be_slow }
            }
        }
    }

    /// Whether the time of the database is needed: after a timeout, the next statement begins there.
    pub(crate) const fn needs_time(&self) -> bool {
        self.is_postgres && self.found.is_none() && self.sweep.splits > 0
    }

    pub(crate) fn begin_at(&mut self, now: i64) {
        (self.found, self.clock) = (Some(now), Some((now, Instant::now())));
    }

    /// How long to wait at most until the next statement: a sweep has not ended.
    pub(crate) fn pause(&self) -> Duration {
        let next = self.sweep.next_step.saturating_duration_since(Instant::now());
        if self.sweep.from > 0 { next } else { Duration::MAX }
    }

    /// Records that a statement succeeded. `last`: the time of the database, and when the last row that it
    /// found was due.
    pub(crate) fn found(&mut self, range: Range, last: Option<(i64, i64)>, has_more: bool) {
        let elapsed = range.start.elapsed();
        if let Some((now, _)) = last {
            self.clock = Some((now - millis(elapsed), range.start));
        }
        if has_more {
            // In a step of a sweep, too: the next statement goes on there.
            self.found = last.map(|(_, due)| due).or(self.found);
        } else if range.covers_now() {
            let now = self.clock.map(|(time, at)| time + millis(range.start.duration_since(at)));
            self.found = now.or(self.found);
        }
        if range.is_sweep {
            self.sweep.next_step = Instant::now() + elapsed * SWEEP_FRACTION;
            self.sweep.split(elapsed > MAX_STEP);
            self.sweep.advance(range);
        }
    }

    /// Records that a statement failed.
    pub(crate) fn failed(&mut self, range: Range, timed_out: bool) {
        self.sweep.next_step = Instant::now() + range.start.elapsed() * SWEEP_FRACTION;
        if timed_out {
            self.found = self.found.filter(|_| range.is_sweep);
            if range.is_sweep && self.sweep.splits == MAX_SPLITS {
                // The steps behind it must not wait for it. The next sweep tries it again.
                self.sweep.advance(range);
            }
            self.sweep.split(range.is_sweep || self.sweep.splits == 0);
        }
    }
}

impl Sweep {
    fn step_end(&self) -> i64 {
        // The clock of this process: if it is wrong, steps have other sizes.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
        let rest = now - self.from;
        if self.splits == 0 || rest <= OVERLAP {
            MAX_DUE
        } else {
            self.from + (rest >> self.splits).max(OVERLAP)
        }
    }

    fn advance(&mut self, range: Range) {
        self.from = range.to;
        if range.covers_now() {
            // The next sweep is one step unless a step of this one was slow.
            (self.from, self.splits, self.is_slow) = (0, u32::from(self.is_slow), false);
        }
    }

    fn split(&mut self, is_slow: bool) {
        self.is_slow |= is_slow;
        self.splits = (self.splits + u32::from(is_slow)).min(MAX_SPLITS);
    }
}

impl Range {
    /// Whether the range has all rows that became due after the last statement.
    pub(crate) const fn covers_now(self) -> bool {
        self.to == MAX_DUE
    }

    /// The parameters `start` and `end`.
    pub(crate) fn values(self) -> [Value; 2] {
        [self.from, self.to].map(Value::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const NOW: i64 = 1_800_000_000_000;

    fn time_out() -> Scan {
        let mut scan = Scan::new(Dialect::Postgres);
        let range = scan.range();
        assert!(range.is_sweep && range.covers_now(), "the first statement looks everywhere");
        scan.failed(range, true);
        assert!(scan.needs_time());
        scan.begin_at(NOW);
        scan
    }

    /// Returns the next step of a sweep now.
    fn next_step(scan: &mut Scan) -> Range {
        scan.sweep.next_step = Instant::now();
        scan.range()
    }

    /// Returns the range of a statement between two steps.
    fn between_steps(scan: &mut Scan) -> Range {
        scan.sweep.next_step = Instant::now() + HOUR;
        let range = scan.range();
        assert!(!range.is_sweep && range.covers_now());
        range
    }

    /// A row that is due at any time is in one of the steps.
    #[test]
    fn steps_leave_no_gap() {
        let mut scan = time_out();
        for _ in 0..2 {
            let (mut end, mut steps) = (-MAX_DUE, 0);
            while end < MAX_DUE {
                let range = next_step(&mut scan);
                assert_eq!(range.from, end);
                assert!(range.to > end);
                end = range.to;
                scan.found(range, None, false);
                steps += 1;
            }
            assert!((10..100).contains(&steps), "{steps}");
        }
        assert!(next_step(&mut scan).covers_now(), "after a sweep without a slow step, one step is enough");
    }

    /// A step that fails is tried again with a part of it, and at last without it.
    #[test]
    fn failing_step_stops_no_sweep() {
        let mut scan = time_out();
        let bad = 1_000_000_000_000;
        let (mut failed, mut ended) = (0, false);
        while !ended {
            let range = between_steps(&mut scan);
            scan.found(range, None, false);
            let range = next_step(&mut scan);
            if range.from < bad && bad < range.to {
                scan.failed(range, true);
                failed += 1;
            } else {
                scan.found(range, None, false);
                ended = range.covers_now();
            }
        }
        assert!((2..=MAX_SPLITS).contains(&failed), "{failed}");
    }

    /// Also after a step of a sweep that found more rows than it may have.
    #[test]
    fn next_statement_begins_at_the_last_row() {
        for mut scan in [Scan::new(Dialect::Postgres), time_out()] {
            let range = next_step(&mut scan);
            scan.found(range, Some((NOW, 1_000)), true);
            let range = between_steps(&mut scan);
            assert_eq!(range.from, 1_000 - OVERLAP);
            scan.found(range, Some((NOW + 1_000, 2_000)), true);
            let range = between_steps(&mut scan);
            assert_eq!(range.from, 2_000 - OVERLAP);
            // Not later than the time of the database when the statement began.
            scan.found(range, Some((NOW + 10_000, 3_000)), false);
            let range = between_steps(&mut scan);
            assert!((NOW..=NOW + 10_000 - OVERLAP).contains(&range.from), "{range:?}");
        }
    }

    /// While the database is down, the next statement looks where the last one did.
    #[test]
    fn outage_changes_nothing() {
        let mut scan = Scan::new(Dialect::Postgres);
        let range = scan.range();
        scan.found(range, Some((NOW, 1_000)), true);
        for _ in 0..10 {
            let range = between_steps(&mut scan);
            assert_eq!(range.from, 1_000 - OVERLAP);
            scan.failed(range, false);
            let range = next_step(&mut scan);
            assert!(range.is_sweep && range.covers_now());
            scan.failed(range, false);
        }
    }
}
