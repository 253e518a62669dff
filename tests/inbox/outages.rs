//! The database fails while the processes run: its server is killed, or its disk is full.

use std::time::{Duration, Instant};

use http::StatusCode;
use roomz_tests::inbox::{InboxSettings, LINES, Line};
use tokio::time::sleep;

use crate::inbox::database::{Database as _, Postgres};
use crate::inbox::disk::SmallDisk;
use crate::inbox::scenario::{FULL_LOAD, Scenario, settings, sqlite_url};

/// The number of events that are accepted before and after each fault.
const EVENTS_PER_PHASE: usize = 500;
const SERVER_KILLS: usize = 3;
/// The time from a kill of the server to its restart, and from the first error of a full disk until space is
/// free.
const FAULT_DURATION: Duration = Duration::from_millis(800);
const GIVE_UP: Duration = Duration::from_secs(40);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// An outage takes attempts of all events that run.
fn many_attempts() -> InboxSettings {
    InboxSettings { max_attempts: 20, ..settings() }
}

/// The server of the database is killed several times, and restarts with what it has written to disk.
pub(crate) async fn kill_server(name: &str) {
    let Some(mut database) = Postgres::start() else { return };
    // Handlers have open transactions when the server is killed.
    let settings = InboxSettings { transaction_time: Duration::from_millis(10), ..many_attempts() };
    let url = database.url();
    let mut scenario = Scenario::start((name, Postgres::NAME), url, settings, FULL_LOAD).await;
    for _ in 0..SERVER_KILLS {
        scenario.wait_for_accepted(EVENTS_PER_PHASE).await;
        database.0.kill();
        sleep(FAULT_DURATION).await;
        database.0.restart();
    }
    scenario.wait_for_accepted(EVENTS_PER_PHASE).await;
    let outcome = scenario.finish().await;
    outcome.check_order();
    let history = &outcome.history;
    assert!(history.requests_with(Some(StatusCode::SERVICE_UNAVAILABLE)) > 0, "no request got a 503");
    assert!(!history.database_errors("enqueue").is_empty(), "no event failed to become durable");
    assert!(outcome.rolled_back_by_failure() > 0, "no transaction of a handler was lost with the server");
}

/// The disk of an SQLite file is full for some time.
pub(crate) async fn fill_disk(name: &str) {
    let Some(disk) = SmallDisk::mount_or_skip() else { return };
    let url = sqlite_url(disk.path());
    let mut scenario = Scenario::start((name, "sqlite"), url, many_attempts(), FULL_LOAD).await;
    scenario.wait_for_accepted(EVENTS_PER_PHASE).await;
    disk.fill();
    let start = Instant::now();
    while !scenario.fleet.log::<Line>(LINES).iter().any(is_full) {
        assert!(start.elapsed() < GIVE_UP, "the disk was never full");
        sleep(POLL_INTERVAL).await;
    }
    sleep(FAULT_DURATION).await;
    disk.free();
    scenario.wait_for_accepted(EVENTS_PER_PHASE).await;
    let outcome = scenario.finish().await;
    outcome.check_order();
    let history = &outcome.history;
    assert!(history.requests_with(Some(StatusCode::SERVICE_UNAVAILABLE)) > 0, "no request got a 503");
    drop(disk);
}

/// An event that did not fit on the disk.
fn is_full(line: &Line) -> bool {
    line.field("operation") == "enqueue" && line.field("error").contains("full")
}
