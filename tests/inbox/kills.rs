//! Processes are killed at random, with events that kill their process.

use std::time::Duration;

use roomz_tests::inbox::InboxSettings;
use roomz_tests::rounds;
use tokio::time::sleep;

use crate::inbox::database::Database;
use crate::inbox::scenario::{FULL_LOAD, PROCESSES, Scenario, settings};

/// The maximum time from a number of accepted events to a kill.
const KILL_DELAY_MAX: Duration = Duration::from_millis(80);

/// The number of events and kills of a run.
struct Size {
    events: usize,
    kills: usize,
}

impl Size {
    fn new() -> Self {
        Self { events: rounds(800, 20_000), kills: rounds(8, 100) }
    }

    /// The number of events that kill their process.
    fn killing_events(&self) -> usize {
        1 + self.kills / 25
    }
}

pub(crate) async fn kill_at_random<D: Database>(name: &str) {
    let Some(database) = D::start() else { return };
    let size = Size::new();
    // In a long run, an event can be running at five kills in a row, and would become a dead letter.
    let settings = InboxSettings { max_attempts: rounds(5, 10) as u32, ..settings() };
    let mut scenario = Scenario::start((name, D::NAME), database.url(), settings, FULL_LOAD).await;
    let kills_per_killing_event = size.kills / size.killing_events();
    for kill in 0..size.kills {
        scenario.wait_for_accepted(size.events / size.kills).await;
        if kill % kills_per_killing_event == 0 {
            scenario.send_killing_event().await;
        }
        sleep(KILL_DELAY_MAX.mul_f64(rand::random())).await;
        let index = rand::random_range(0..PROCESSES);
        scenario.fleet.kill(index);
        scenario.fleet.restart(index);
    }
    let outcome = scenario.finish().await;
    outcome.check_order();
    assert!(outcome.killed.len() >= size.kills, "{} of {} kills", outcome.killed.len(), size.kills);
    assert!(outcome.interrupted_by_kill() > 0, "no process was killed while it ran an event");
}
