//! One of two workers is suspended until its lease is over, and then continues.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use roomz_tests::fleet::{Fleet, Run};
use roomz_tests::inbox::{EFFECTS, Effect, InboxSettings, LINES, Line};
use roomz_tests::sender::now;
use tokio::time::sleep;

use crate::inbox::database::{self, Database, Postgres};
use crate::inbox::scenario::{Load, Scenario, settings};

/// The worker is suspended until it has inserted a row for an event that it had lost.
const SUSPENSIONS_MAX: usize = 12;
/// The number of events that are accepted before the first suspension, and after each.
const EVENTS_PER_PHASE: usize = 60;
const PAUSE_PER_EVENT: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The first process is suspended, several times, and continues with events that the other one has taken
/// over. Its handlers insert their rows, but the worker does not commit them.
pub(crate) async fn suspend_longer_than_lease<D: Database>(name: &str) {
    let Some(database) = D::start() else { return };
    let is_postgres = D::NAME == Postgres::NAME;
    let settings = InboxSettings {
        lease: Duration::from_millis(1_500),
        max_attempts: 20,
        // Some handlers run when the process is suspended, and end before their next renewal is due. On
        // PostgreSQL, most of them have inserted their row. On SQLite, which has one writer, that would block
        // the other process.
        handler_time: Duration::from_millis(if is_postgres { 10 } else { 400 }),
        transaction_time: Duration::from_millis(if is_postgres { 300 } else { 0 }),
        ..settings()
    };
    // Less than one worker can do: an event that is taken over would wait for all that arrived before.
    let load = Load { request_timeout: settings.lease * 2 / 3, pause_per_event: PAUSE_PER_EVENT };
    let mut scenario = Scenario::start((name, D::NAME), database.url(), settings, load).await;
    scenario.wait_for_accepted(EVENTS_PER_PHASE).await;
    let suspended = scenario.fleet.process(0);
    for _ in 0..SUSPENSIONS_MAX {
        suspend(&scenario.fleet, &scenario.url).await;
        wait_for_takeover(&scenario.fleet, suspended, settings.lease * 3).await;
        // The leases of its other events end up to a half of a lease later.
        sleep(settings.lease / 2).await;
        scenario.fleet.signal(0, "CONT");
        scenario.wait_for_accepted(EVENTS_PER_PHASE).await;
        if !lost_effects(&scenario.fleet, suspended).is_empty() {
            break;
        }
    }
    let lost = lost_effects(&scenario.fleet, suspended);
    let outcome = scenario.finish().await;
    let events = &outcome.history.events;
    let has_later_row = |effect: &&Effect| {
        let rows = events.get(&effect.id).map(|event| &event.rows);
        rows.is_some_and(|rows| rows.iter().any(|row| row.attempt > effect.attempt))
    };
    let count = lost.iter().filter(has_later_row).count();
    assert!(count > 0, "no row of the suspended worker was rolled back after a takeover; lost: {lost:?}");
}

/// Suspends the first process. If it holds the write lock of an SQLite file then, it blocks the other one,
/// and no event would be taken over: it continues, and is suspended again.
async fn suspend(fleet: &Fleet, url: &str) {
    loop {
        // The connections of the sender pause at about the same time.
        sleep(PAUSE_PER_EVENT.mul_f64(rand::random())).await;
        fleet.signal(0, "STOP");
        if !database::is_locked(url).await {
            return;
        }
        fleet.signal(0, "CONT");
    }
}

/// Waits until another process runs an event that this process ran when it was suspended, or until the
/// timeout.
async fn wait_for_takeover(fleet: &Fleet, suspended: u32, timeout: Duration) {
    let (start, suspended_at) = (Instant::now(), now());
    while start.elapsed() < timeout {
        let runs = fleet.runs();
        let own: HashSet<_> = runs
            .iter()
            .filter(|run| run.process == suspended && !run.fails)
            .map(|run| run.id.as_str())
            .collect();
        let is_takeover = |run: &Run| {
            run.process != suspended && run.started > suspended_at && own.contains(run.id.as_str())
        };
        if runs.iter().any(is_takeover) {
            return;
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Rows that this process inserted for events that another one had taken over. The worker has reported that
/// it lost them.
fn lost_effects(fleet: &Fleet, process: u32) -> HashSet<Effect> {
    let (runs, lines, effects): (_, Vec<Line>, Vec<Effect>) =
        (fleet.runs(), fleet.log(LINES), fleet.log(EFFECTS));
    let lost: HashSet<&str> = lines
        .iter()
        .filter(|line| line.process == process && line.field("outcome") == "lost")
        .map(|line| line.field("event_id"))
        .collect();
    let is_taken_over = |effect: &Effect| {
        let mut other_runs = runs.iter().filter(|run| run.id == effect.id && run.process != process);
        other_runs.any(|run| run.attempt > effect.attempt)
    };
    let has_failed = |effect: &Effect| {
        runs.iter().any(|run| run.id == effect.id && run.attempt == effect.attempt && run.fails)
    };
    effects
        .into_iter()
        .filter(|effect| effect.process == process && lost.contains(effect.id.as_str()))
        .filter(|effect| is_taken_over(effect) && !has_failed(effect))
        .collect()
}
