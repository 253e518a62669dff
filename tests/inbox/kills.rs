//! Processes are killed at random, with events that kill their process.

use std::time::Duration;

use tokio::time::sleep;

use crate::database::Database;
use crate::scenario::{PROCESSES, REQUEST_TIMEOUT, Scenario, settings};

/// The maximum time from a number of accepted events to a kill.
const KILL_DELAY_MAX: Duration = Duration::from_millis(80);

/// The number of events and kills of a run.
struct Size {
    events: usize,
    kills: usize,
}

impl Size {
    /// The short form, unless the environment sets other numbers.
    fn from_environment() -> Self {
        let number = |name: &str, default| {
            std::env::var(name)
                .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
        };
        Self { events: number("ROOMZ_INBOX_EVENTS", 1_500), kills: number("ROOMZ_INBOX_KILLS", 8) }
    }

    /// The number of events that kill their process.
    fn killing_events(&self) -> usize {
        1 + self.kills / 25
    }
}

pub(crate) async fn kill_at_random<D: Database>(name: &str) {
    let Some(database) = D::start() else { return };
    let size = Size::from_environment();
    let mut scenario = Scenario::start((name, D::NAME), database.url(), settings(), REQUEST_TIMEOUT).await;
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
