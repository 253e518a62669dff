//! Where a statement looks for rows that are due.
//!
//! PostgreSQL keeps the index entries of changed and deleted rows as long as any session has a snapshot from
//! before the change, and until autovacuum has removed them. A statement that looks for the rows that are due
//! first reads all of these entries. So most statements begin where the last one ended. Rows that were due
//! before that are rare: their commit was late, a transaction that locked them was rolled back, or a clock
//! moved. A *sweep* finds them: one statement that looks everywhere, or, after one that took too long, steps
//! from the newest to the oldest row.

use std::time::{Duration, Instant};

use roomz_sql::db::dialect::Dialect;
use roomz_sql::db::queue::Failed;
use roomz_sql::db::value::{Row, Value};

use crate::queue::row::millis;

/// How far a statement looks back behind the end of the last one, in milliseconds: longer than most commits
/// take.
const OVERLAP: i64 = 250;
/// A sweep takes at most one part in this many of the time.
const SWEEP_FRACTION: u32 = 50;
/// A step that takes longer is followed by smaller steps.
const MAX_STEP: Duration = Duration::from_millis(200);
/// What the first step of a sweep covers, in milliseconds. The next ones cover twice as much, or a quarter.
const FIRST_SPAN: i64 = 1_000;
/// After every `due`. The negative is before every one.
const MAX_DUE: i64 = 1 << 60;

/// Where the next statement looks. All times are values of `due`, by the clock of the database.
#[derive(Debug)]
pub(crate) struct Scan {
    /// SQLite removes index entries at once, so each statement looks everywhere.
    is_postgres: bool,
    /// What was due before it has been found, or is left to the sweep. `None`: not known yet.
    found: Option<i64>,
    /// A time of the database, and when it was that or later.
    clock: Option<(i64, Instant)>,
    sweep: Sweep,
    next_sweep: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Sweep {
    /// One statement looks everywhere.
    Whole,
    /// Steps, before what the other statements find.
    Steps {
        /// Where the next step ends. `None`: before `found`.
        to: Option<i64>,
        span: i64,
        /// A step was slow or failed, so the next sweep has steps too.
        is_slow: bool,
    },
}

const STEPS: Sweep = Sweep::Steps { to: None, span: FIRST_SPAN, is_slow: false };

/// The rows that one statement looks at, by `due`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    start: Instant,
    from: i64,
    to: i64,
    is_sweep: bool,
    /// A statement of this sweep or of the last one was slow or failed.
    pub(crate) may_be_slow: bool,
}

impl Scan {
    pub(crate) fn new(dialect: Dialect) -> Self {
        let is_postgres = dialect == Dialect::Postgres;
        Self { is_postgres, found: None, clock: None, sweep: Sweep::Whole, next_sweep: Instant::now() }
    }

    /// Returns where the next statement looks.
    pub(crate) fn range(&self) -> Range {
        let start = Instant::now();
        let everywhere = Range { start, from: -MAX_DUE, to: MAX_DUE, is_sweep: true, may_be_slow: false };
        match (self.found, self.sweep) {
            (Some(found), _) if self.is_postgres && self.next_sweep > start => {
                Range { from: found - OVERLAP, is_sweep: false, ..everywhere }
            }
            (Some(found), Sweep::Steps { to, span, .. }) => {
                let to = to.unwrap_or(found);
                let from = if span < to { to - span } else { -MAX_DUE };
                Range { from, to, may_be_slow: true, ..everywhere }
            }
            _ => everywhere,
        }
    }

    /// Whether the time of the database is needed: after a timeout, the next statement begins there.
    pub(crate) const fn needs_time(&self) -> bool {
        self.is_postgres && self.found.is_none() && matches!(self.sweep, Sweep::Steps { .. })
    }

    pub(crate) fn begin_at(&mut self, now: i64) {
        (self.found, self.clock) = (Some(now), Some((now, Instant::now())));
    }

    /// How long to wait at most until the next statement: a sweep has not ended.
    pub(crate) fn pause(&self) -> Duration {
        match self.sweep {
            Sweep::Whole => Duration::MAX,
            Sweep::Steps { .. } => self.next_sweep.saturating_duration_since(Instant::now()),
        }
    }

    /// Records that a statement succeeded. `last`: the time of the database, and when the last row that it
    /// found was due.
    pub(crate) fn found(&mut self, range: Range, last: Option<(i64, i64)>, has_more: bool) {
        let elapsed = range.start.elapsed();
        if let Some((now, _)) = last {
            self.clock = Some((now - millis(elapsed), range.start));
        }
        if range.covers_now() {
            let now = self.clock.map(|(time, at)| time + millis(range.start.duration_since(at)));
            let last = last.filter(|_| has_more).map(|(_, due)| due);
            self.found = last.or(now.filter(|_| !has_more)).or(self.found);
        }
        if range.is_sweep {
            // The rest of a full step takes half of the time.
            let part = if has_more && !range.covers_now() { 1 } else { SWEEP_FRACTION };
            self.next_sweep = Instant::now() + elapsed * part;
            self.sweep.ended(range, elapsed > MAX_STEP, has_more);
        }
    }

    /// Records that a statement failed.
    pub(crate) fn failed(&mut self, range: Range, timed_out: bool) {
        let next_sweep = Instant::now() + range.start.elapsed() * SWEEP_FRACTION;
        match &mut self.sweep {
            _ if !timed_out => self.next_sweep = next_sweep,
            Sweep::Steps { to, span, is_slow } if range.is_sweep => {
                self.next_sweep = next_sweep;
                *is_slow = true;
                if *span <= OVERLAP {
                    // The steps behind it must not wait for it. The next sweep tries it again.
                    *to = Some(range.from);
                }
                *span = (*span / 4).max(OVERLAP);
            }
            sweep => {
                // What a step finds soon is found soon: it may have been only this once.
                (*sweep, self.next_sweep) = (STEPS, Instant::now());
                self.found = self.found.filter(|_| range.is_sweep);
            }
        }
    }
}

impl Sweep {
    /// A statement of the sweep succeeded.
    fn ended(&mut self, range: Range, is_slow_step: bool, has_more: bool) {
        match self {
            Self::Whole if is_slow_step => *self = STEPS,
            Self::Whole => {}
            // The same rows again: those that were found are not due any more.
            Self::Steps { .. } if has_more => {}
            Self::Steps { to, span, is_slow } => {
                *is_slow |= is_slow_step;
                *span = if is_slow_step { (*span / 4).max(OVERLAP) } else { span.saturating_mul(2) };
                *to = Some(range.from);
                if range.from == -MAX_DUE {
                    *self = if *is_slow { STEPS } else { Self::Whole };
                }
            }
        }
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

/// The time of the database, and when the last of the rows of a take was due: the columns 9 and 10.
pub(super) fn last(rows: &[Row]) -> Option<(i64, i64)> {
    let times = rows.iter().filter_map(|row| Some((row.number(9).ok()?, row.number(10).ok()?)));
    times.max_by_key(|(_, due)| *due)
}

/// Whether a statement took too long, for example because it read many dead index entries.
pub(super) fn timed_out(failed: &Failed) -> bool {
    let Failed::Database(error) = failed else { return matches!(failed, Failed::TimedOut) };
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("57014"))
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
        assert!(!scan.needs_time());
        scan.failed(range, true);
        assert!(scan.needs_time());
        scan.begin_at(NOW);
        assert!(!scan.needs_time());
        scan
    }

    /// Returns the next step of a sweep now.
    fn next_step(scan: &mut Scan) -> Range {
        scan.next_sweep = Instant::now();
        scan.range()
    }

    /// Returns the range of a statement between two steps.
    fn between_steps(scan: &mut Scan) -> Range {
        scan.next_sweep = Instant::now() + HOUR;
        let range = scan.range();
        assert!(!range.is_sweep && range.covers_now() && !range.may_be_slow);
        range
    }

    /// A row that is due at any time is in one of the steps, the newest first.
    #[test]
    fn steps_leave_no_gap() {
        let mut scan = time_out();
        let (mut end, mut steps) = (NOW, 0);
        while end > -MAX_DUE {
            let range = next_step(&mut scan);
            assert_eq!(range.to, end);
            assert!(range.from < range.to);
            end = range.from;
            scan.found(range, None, false);
            steps += 1;
        }
        assert!((10..50).contains(&steps), "{steps}");
        assert!(next_step(&mut scan).covers_now(), "after a sweep without a slow step, one step is enough");
    }

    /// The server stood still once. What arrived meanwhile does not wait.
    #[test]
    fn step_follows_timeout_at_once() {
        for mut scan in [Scan::new(Dialect::Postgres), time_out()] {
            let range = next_step(&mut scan);
            scan.found(range, None, false);
            for is_step in [true, false] {
                let range = if is_step { scan.range() } else { between_steps(&mut scan) };
                scan.failed(range, true);
                if scan.needs_time() {
                    scan.begin_at(NOW);
                }
            }
            let range = scan.range();
            assert!(range.is_sweep && range.to == NOW && range.from == NOW - FIRST_SPAN, "{range:?}");
        }
    }

    /// A step with more rows than one statement returns is repeated.
    #[test]
    fn full_step_is_repeated() {
        let mut scan = time_out();
        let second = Duration::from_secs(1);
        let range = next_step(&mut scan);
        let range = Range { start: Instant::now().checked_sub(second).unwrap(), ..range };
        scan.found(range, Some((NOW, NOW - 900)), true);
        assert!(scan.pause() < second * 40, "the rest takes half of the time");
        let again = next_step(&mut scan);
        assert_eq!((again.from, again.to), (range.from, range.to));
        assert_eq!(between_steps(&mut scan).from, NOW - OVERLAP);
    }

    /// A fast step is followed by one of twice its span, a slow or failed one by one of a quarter.
    #[test]
    fn steps_follow_the_speed_of_the_database() {
        let mut scan = time_out();
        for (span, is_slow, is_failure) in [
            (1_000, false, false),
            (2_000, false, false),
            (4_000, true, false),
            (1_000, false, false),
            (2_000, false, true),
            (500, false, true),
            (OVERLAP, true, false),
            (OVERLAP, false, false),
            (2 * OVERLAP, false, false),
        ] {
            let range = next_step(&mut scan);
            assert_eq!(range.to - range.from, span);
            assert!(range.may_be_slow);
            let took = if is_slow { MAX_STEP * 2 } else { Duration::ZERO };
            let range = Range { start: Instant::now().checked_sub(took).unwrap(), ..range };
            if is_failure {
                scan.failed(range, true);
            } else {
                scan.found(range, None, false);
            }
            // A sweep takes one part in fifty of the time.
            assert_eq!(scan.pause() > MAX_STEP * 80, is_slow);
        }
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
            if (range.from..range.to).contains(&bad) {
                scan.failed(range, true);
                failed += 1;
            } else {
                scan.found(range, None, false);
                ended = range.from == -MAX_DUE;
            }
        }
        assert!((2..=100).contains(&failed), "{failed}");
        assert!(!next_step(&mut scan).covers_now(), "the next sweep has steps");
    }

    /// Also after a sweep that found more rows than it may have.
    #[test]
    fn next_statement_begins_at_the_last_row() {
        let mut scan = Scan::new(Dialect::Postgres);
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
        // The reply came a minute later. The clock goes on without rows.
        let minute = 60_000;
        let range = Range { start: Instant::now().checked_sub(HOUR / 60).unwrap(), ..range };
        scan.found(range, Some((NOW + 3 * minute, 4_000)), false);
        let range = between_steps(&mut scan);
        assert!((NOW + minute..=NOW + 2 * minute).contains(&range.from), "{range:?}");
        scan.found(range, None, false);
        assert!(between_steps(&mut scan).from >= NOW + 3 * minute - OVERLAP - 1);
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

    /// A sweep takes one part in fifty of the time, and has steps after a slow statement.
    #[test]
    fn slow_sweep_pauses_and_has_steps() {
        let second = Duration::from_secs(1);
        for is_failure in [false, true] {
            let mut scan = Scan::new(Dialect::Postgres);
            let range = Range { start: Instant::now().checked_sub(second).unwrap(), ..scan.range() };
            if is_failure {
                scan.failed(range, false);
            } else {
                scan.found(range, Some((NOW, NOW)), false);
            }
            assert!(scan.next_sweep.saturating_duration_since(Instant::now()) > second * 40);
            assert!(scan.pause() > second * 40);
            assert_eq!(scan.pause() == Duration::MAX, is_failure, "steps");
        }
    }
}
