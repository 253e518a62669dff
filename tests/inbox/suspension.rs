//! One of two workers is suspended until its lease is over, and then continues.

use std::collections::HashSet;
use std::time::Duration;

use roomz_tests::fleet::Fleet;
use roomz_tests::inbox::{EFFECTS, Effect, InboxSettings, LINES, Line};
use tokio::time::sleep;

use crate::database::{Database, Postgres};
use crate::scenario::{Scenario, settings};

/// The worker is suspended until it has inserted a row for an event that it had lost. On SQLite, a worker that is suspended
/// while it writes blocks the other one, and no event is taken over.
const SUSPENSIONS_MAX: usize = 8;

/// The first process is suspended, several times, and continues with events that the other one has taken over. Its handlers
/// insert their rows, but the worker does not commit them.
pub(crate) async fn suspend_longer_than_lease<D: Database>(name: &str) {
    let Some(database) = D::start() else { return };
    let is_postgres = D::NAME == Postgres::NAME;
    let settings = InboxSettings {
        lease: Duration::from_millis(1_500),
        max_attempts: 20,
        // Many handlers run when the process is suspended.
        handler_time: Duration::from_millis(150),
        // SQLite has one writer: an open transaction of the suspended process would block the other one.
        transaction_time: if is_postgres { Duration::from_millis(150) } else { Duration::ZERO },
        ..settings()
    };
    let request_timeout = settings.lease * 2 / 3;
    let mut scenario = Scenario::start((name, D::NAME), database.url(), settings, request_timeout).await;
    scenario.wait_for_accepted(300).await;
    let suspended = scenario.fleet.process(0);
    for _ in 0..SUSPENSIONS_MAX {
        scenario.fleet.signal(0, "STOP");
        sleep(settings.lease * 2).await;
        scenario.fleet.signal(0, "CONT");
        scenario.wait_for_accepted(100).await;
        if !lost_effects(&scenario.fleet, suspended).is_empty() {
            break;
        }
    }
    scenario.wait_for_accepted(300).await;
    let lost = lost_effects(&scenario.fleet, suspended);
    let outcome = scenario.finish().await;
    let events = &outcome.history.events;
    let is_taken_over = |effect: &&Effect| {
        let rows = events.get(&effect.id).map(|event| &event.rows);
        rows.is_some_and(|rows| {
            rows.iter().any(|row| row.attempt > effect.attempt && row.process != suspended)
        })
    };
    let count = lost.iter().filter(is_taken_over).count();
    assert!(count > 0, "no row of the suspended worker was rolled back after a takeover; lost: {lost:?}");
}

/// Rows that this process inserted for events that it had lost, as it reported.
fn lost_effects(fleet: &Fleet, process: u32) -> HashSet<Effect> {
    let lines: Vec<Line> = fleet.log(LINES);
    let lost: HashSet<&str> = lines
        .iter()
        .filter(|line| line.process == process && line.field("outcome") == "lost")
        .map(|line| line.field("event_id"))
        .collect();
    let effects: Vec<Effect> = fleet.log(EFFECTS);
    effects
        .into_iter()
        .filter(|effect| effect.process == process && lost.contains(effect.id.as_str()))
        .collect()
}
