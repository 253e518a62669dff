//! Databases with many rows.

use std::time::Duration;
use tokio::runtime::Runtime;

use super::{Curve, Line, powers};
use crate::inbox::{DONE, WAITING, admit, done, empty, execute, fill, open};
use crate::report::{Report, median};
use crate::stores::{connect_sql, fill_claims, for_each_database, pairs_per_second};

/// The events that a worker handles for one point.
const BACKLOG: usize = 10_000;
const DURATION: Duration = Duration::from_millis(300);
const CONCURRENCY: usize = 32;

pub(super) fn claims(report: &Report) -> Result<Curve, String> {
    let runtime = Runtime::new().unwrap();
    let mut lines: Vec<Line> = Vec::new();
    for_each_database(|name, url| {
        let store = connect_sql(&runtime, url);
        let (mut points, mut filled) = (Vec::new(), 0);
        for rows in powers(3, report.max_rows) {
            let missing = (rows - filled) as i64;
            runtime.block_on(fill_claims(url, missing, 4_000_000_000_000));
            filled = rows;
            let rates = (0..report.rounds).map(|_| pairs_per_second(&runtime, &store, CONCURRENCY, DURATION));
            points.push((rows as f64, 1e6 / median(&mut rates.collect::<Vec<_>>())));
            runtime.block_on(execute(url, "DELETE FROM roomz_claims WHERE namespace = 'bench'"));
        }
        lines.push((format!("{name}, µs"), points));
    })?;
    Ok(Curve { title: "A claim and its completion", unit_x: "rows", lines })
}

pub(super) fn done_rows(report: &Report) -> Result<Curve, String> {
    Ok(Curve { title: "The inbox, an event", unit_x: "rows done", lines: inbox_lines(report, DONE)? })
}

pub(super) fn waiting_rows(report: &Report) -> Result<Curve, String> {
    Ok(Curve { title: "The inbox, an event", unit_x: "rows waiting", lines: inbox_lines(report, WAITING)? })
}

/// The microseconds of an admission and of an event that is done, with so many rows in this state.
fn inbox_lines(report: &Report, state: i32) -> Result<Vec<Line>, String> {
    let runtime = Runtime::new().unwrap();
    let mut lines: Vec<Line> = Vec::new();
    for_each_database(|name, url| {
        let (mut admitted, mut handled) = (Vec::new(), Vec::new());
        let inbox = runtime.block_on(open(url, 10));
        // To count more open events takes longer than the inbox waits for a reply.
        let max = if state == WAITING { report.max_rows.min(1_000_000) } else { report.max_rows };
        // With fewer rows, those of the measurement itself would be most of them.
        for rows in powers(4, max) {
            runtime.block_on(async {
                empty(url).await;
                fill(url, state, rows as i64).await;
                let backlog = if state == WAITING { 0 } else { BACKLOG };
                fill(url, WAITING, backlog as i64).await;
                if name == "PostgreSQL" {
                    execute(url, "VACUUM ANALYZE roomz_inbox").await;
                    execute(url, "CHECKPOINT").await;
                }
                let rate = done(&inbox, 10, false, BACKLOG as i64).await;
                handled.push((rows as f64, 1e6 / rate));
                let rate = admit(&inbox, CONCURRENCY).await;
                admitted.push((rows as f64, 1e6 / rate));
            });
        }
        lines.push((format!("{name}, admission, µs"), admitted));
        lines.push((format!("{name}, done, µs"), handled));
    })?;
    Ok(lines)
}
