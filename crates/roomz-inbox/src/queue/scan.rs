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

/// How far a statement looks back behind the end of the last one: longer than most commits take.
pub(crate) const OVERLAP: Duration = Duration::from_secs(2);
/// A sweep takes at most one part in this many of the time.
const SWEEP_FRACTION: u32 = 50;
/// The same while a step finds more rows than the statement may have.
const BACKLOG_FRACTION: u32 = 4;
/// A step that takes longer is followed by smaller steps.
const MAX_STEP: Duration = Duration::from_millis(200);
/// The smallest step covers one part in two to the power of this of the time up to now.
const MAX_SPLITS: u32 = 12;
/// After every `due`. The negative is before every one.
const MAX_DUE: i64 = 1 << 60;

/// Where the next statement looks.
#[derive(Debug)]
pub(crate) struct Scan {
    /// SQLite removes index entries at once, so each statement looks everywhere.
    is_postgres: bool,
    /// Rows that were due this long before this time have been found.
    found: (Instant, Duration),
    sweep: Sweep,
}

#[derive(Debug)]
struct Sweep {
    /// Everything before it has been swept. In milliseconds since 1970, by the clock of this process: if that is
    /// wrong, steps have other sizes.
    from: i64,
    /// A step covers one part in two to the power of this of the time from `from` to now. 0: up to the end.
    splits: u32,
    is_slow: bool,
    next_step: Instant,
    /// The last statement that began where another ended succeeded, so the database works.
    can_split: bool,
}

/// The rows that one statement looks at, by `due`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    start: Instant,
    from: i64,
    to: i64,
    /// The range begins this long before the time of the database, in milliseconds.
    behind: i64,
    is_sweep: bool,
    /// A step of this or of the last sweep was slow or failed.
    pub(crate) may_be_slow: bool,
}

impl Scan {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let now = Instant::now();
        let sweep = Sweep { from: 0, splits: 0, is_slow: false, next_step: now, can_split: true };
        Self { is_postgres: dialect == Dialect::Postgres, found: (now, Duration::ZERO), sweep }
    }

    /// Returns where the next statement looks.
    pub(crate) fn range(&self) -> Range {
        let start = Instant::now();
        if !self.is_postgres || self.sweep.next_step <= start {
            let to = self.sweep.step_end();
            let from = if self.sweep.from > 0 { self.sweep.from } else { -MAX_DUE };
            let may_be_slow = self.sweep.splits > 0;
            return Range { start, from, to, behind: MAX_DUE, is_sweep: true, may_be_slow };
        }
        let (at, late) = self.found;
        let behind = start.duration_since(at).saturating_add(late).saturating_add(OVERLAP);
        Range {
            start,
            from: -MAX_DUE,
            to: MAX_DUE,
            behind: millis(behind),
            is_sweep: false,
            may_be_slow: false,
        }
    }

    /// How long to wait at most until the next statement: a sweep has not ended.
    pub(crate) fn pause(&self) -> Duration {
        let next = self.sweep.next_step.saturating_duration_since(Instant::now());
        if self.sweep.from > 0 { next } else { Duration::MAX }
    }

    /// Records that a statement found rows. `more_since`: there may be more, and the last one was due that long
    /// ago.
    pub(crate) fn found(&mut self, range: Range, more_since: Option<Duration>) {
        let elapsed = range.start.elapsed();
        let is_slow = elapsed > MAX_STEP;
        if range.covers_now() {
            if is_slow {
                // Only a sweep goes back to what may be left.
                self.found = (range.start, Duration::ZERO);
            } else {
                self.found = (range.start, more_since.unwrap_or_default());
            }
        }
        if range.is_sweep {
            self.sweep.record(range, elapsed, is_slow, more_since.is_some());
        } else {
            self.sweep.can_split = true;
            self.sweep.split(is_slow);
        }
    }

    /// Records that a statement failed, for example because it took too long.
    pub(crate) fn failed(&mut self, range: Range) {
        self.found = (Instant::now(), Duration::ZERO);
        if range.is_sweep && self.sweep.can_split && self.sweep.splits == MAX_SPLITS {
            // The steps behind it must not wait for it. The next sweep tries it again.
            self.sweep.from = range.to;
        }
        self.sweep.split(self.sweep.splits == 0 || (range.is_sweep && self.sweep.can_split));
        self.sweep.can_split &= range.is_sweep;
        self.sweep.next_step = Instant::now() + range.start.elapsed() * SWEEP_FRACTION;
    }
}

impl Sweep {
    fn step_end(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis);
        let rest = now - self.from;
        if self.splits == 0 || rest <= millis(OVERLAP) {
            MAX_DUE
        } else {
            self.from + (rest >> self.splits).max(1_000)
        }
    }

    fn record(&mut self, range: Range, elapsed: Duration, is_slow: bool, has_more: bool) {
        // Where a step leaves rows, only another one finds them, unless the next statement goes on there.
        let has_more = has_more && (is_slow || !range.covers_now());
        let fraction = if has_more { BACKLOG_FRACTION } else { SWEEP_FRACTION };
        self.next_step = Instant::now() + elapsed * fraction;
        self.split(is_slow);
        if range.covers_now() {
            // The next sweep is one step unless a step of this one was slow.
            let splits = u32::from(self.is_slow);
            *self = Self { from: 0, splits, is_slow: false, ..*self };
        } else if !has_more {
            self.from = range.to;
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

    /// The parameters `start`, `end` and `behind`.
    pub(crate) fn values(self) -> [Value; 3] {
        [self.from, self.to, self.behind].map(Value::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn fail_once() -> Scan {
        let mut scan = Scan::new(Dialect::Postgres);
        let range = scan.range();
        assert!(range.is_sweep && range.covers_now(), "the first statement looks everywhere");
        scan.failed(range);
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
        let mut scan = fail_once();
        for _ in 0..2 {
            let (mut end, mut steps) = (-MAX_DUE, 0);
            while end < MAX_DUE {
                let range = next_step(&mut scan);
                assert_eq!(range.from, end);
                assert!(range.to > end);
                end = range.to;
                scan.found(range, None);
                steps += 1;
            }
            assert!((10..100).contains(&steps), "{steps}");
        }
        assert!(next_step(&mut scan).covers_now(), "after a sweep without a slow step, one step is enough");
    }

    /// A step that finds more rows than it may have is repeated.
    #[test]
    fn step_with_more_rows_is_repeated() {
        let mut scan = fail_once();
        let range = next_step(&mut scan);
        scan.found(range, Some(HOUR));
        assert_eq!(next_step(&mut scan).from, range.from);
        scan.found(range, None);
        assert_eq!(next_step(&mut scan).from, range.to);
    }

    /// A step that fails is tried again with a part of it, and at last without it.
    #[test]
    fn failing_step_stops_no_sweep() {
        let mut scan = fail_once();
        let bad = 1_000_000_000_000;
        let (mut failed, mut ended) = (0, false);
        while !ended {
            let range = between_steps(&mut scan);
            scan.found(range, None);
            let range = next_step(&mut scan);
            if range.from < bad && bad < range.to {
                scan.failed(range);
                failed += 1;
            } else {
                scan.found(range, None);
                ended = range.covers_now();
            }
        }
        assert!((2..=MAX_SPLITS).contains(&failed), "{failed}");
    }

    /// With rows that are left, the next statement begins at the last one that was found.
    #[test]
    fn next_statement_begins_where_the_last_ended() {
        let mut scan = Scan::new(Dialect::Postgres);
        let range = scan.range();
        scan.found(range, Some(HOUR));
        let range = between_steps(&mut scan);
        assert!((millis(HOUR + OVERLAP)..millis(2 * HOUR)).contains(&range.behind), "{range:?}");
        scan.found(range, None);
        let range = between_steps(&mut scan);
        assert!((millis(OVERLAP)..millis(HOUR)).contains(&range.behind), "{range:?}");
    }

    /// While the database is down, no step becomes smaller.
    #[test]
    fn outage_does_not_split() {
        let mut scan = fail_once();
        for _ in 0..100 {
            let range = between_steps(&mut scan);
            scan.failed(range);
            let range = next_step(&mut scan);
            scan.failed(range);
        }
        assert_eq!(scan.sweep.splits, 1);
    }
}
