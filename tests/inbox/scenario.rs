//! One scenario: inbox processes and a sender on one database, a fault, and the checks.

use std::path::Path;
use std::time::{Duration, Instant};

use roomz_tests::few_at_a_time;
use roomz_tests::fleet::Fleet;
use roomz_tests::inbox::{InboxSettings, KILLING_STATUS};
use roomz_tests::sender::{REQUEST_TIMEOUT, Sender};
use roomz_webhook::testing::TestEvent;
use tokio::sync::SemaphorePermit;
use tokio::time::sleep;

use crate::inbox::database;
use crate::inbox::history::History;
use crate::inbox::outcome::Outcome;

/// Enough to keep two processes busy.
const CONNECTIONS: usize = 24;
/// The number of processes.
pub(crate) const PROCESSES: usize = 2;
/// The interval at which ended processes are replaced.
const RESTART_INTERVAL: Duration = Duration::from_millis(5);
/// The interval at which open events are counted.
const COUNT_INTERVAL: Duration = Duration::from_millis(100);
/// The time without any progress after which the test gives up.
const GIVE_UP: Duration = Duration::from_secs(40);

/// How the sender sends.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// The time after which it sends an event to the other process.
    pub(crate) request_timeout: Duration,
    /// The pause of each of its connections after each event.
    pub(crate) pause_per_event: Duration,
}

/// As fast as the processes accept events. They may take as long as they want.
pub(crate) const FULL_LOAD: Load = Load { request_timeout: REQUEST_TIMEOUT, pause_per_event: Duration::ZERO };

/// The settings for a database that works most of the time.
pub(crate) fn settings() -> InboxSettings {
    InboxSettings {
        concurrency: 10,
        // Long enough that a busy machine does not delay a renewal until it ends.
        lease: Duration::from_secs(3),
        max_attempts: 5,
        backoff: Duration::from_millis(100),
        handler_time: Duration::from_millis(20),
        transaction_time: Duration::ZERO,
    }
}

pub(crate) struct Scenario {
    pub(crate) fleet: Fleet,
    pub(crate) sender: Sender,
    pub(crate) url: String,
    settings: InboxSettings,
    name: String,
    killing: Vec<String>,
    started: Instant,
    _permit: SemaphorePermit<'static>,
}

impl Scenario {
    /// Starts the processes on the database with this URL, and the sender.
    pub(crate) async fn start(
        (name, database): (&str, &str),
        url: String,
        settings: InboxSettings,
        load: Load,
    ) -> Self {
        let permit = few_at_a_time().await;
        let started = Instant::now();
        database::create_table(&url).await;
        let program = env!("CARGO_BIN_EXE_inbox-receiver");
        let fleet = Fleet::start(program, PROCESSES, settings.arguments(&url));
        let sender =
            Sender::start_slowly(fleet.targets(), CONNECTIONS, load.request_timeout, load.pause_per_event);
        Self {
            fleet,
            sender,
            url,
            settings,
            name: format!("{database}, {name}"),
            killing: Vec::new(),
            started,
            _permit: permit,
        }
    }

    /// Waits until `more` additional events are accepted.
    pub(crate) async fn wait_for_accepted(&mut self, more: usize) {
        replacing_ended(&mut self.fleet, self.sender.wait_for_accepted(more)).await;
    }

    /// Sends an event that kills each process that handles it.
    pub(crate) async fn send_killing_event(&mut self) {
        let event = TestEvent::presence(KILLING_STATUS);
        let id = replacing_ended(&mut self.fleet, self.sender.deliver(&event)).await;
        self.killing.push(id);
    }

    /// Stops sending, waits until no event is open, prints the report, and checks what holds after every
    /// fault.
    pub(crate) async fn finish(self) -> Outcome {
        let Self { mut fleet, sender, url, settings, name, killing, started, _permit } = self;
        let sent = replacing_ended(&mut fleet, sender.finish()).await;
        replacing_ended(&mut fleet, wait_until_none_is_open(&url)).await;
        let history = History::read(sent, &fleet, &url, &killing).await;
        let outcome = Outcome { history, settings, killed: fleet.killed().clone() };
        outcome.report(&name, started.elapsed());
        outcome.check();
        outcome
    }
}

/// Replaces processes that an event has killed until the future ends.
async fn replacing_ended<T>(fleet: &mut Fleet, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        tokio::select! {
            biased;
            result = &mut future => return result,
            () = sleep(RESTART_INTERVAL) => {
                let _ = fleet.restart_ended();
            }
        }
    }
}

async fn wait_until_none_is_open(url: &str) {
    let (mut fewest, mut progress) = (i64::MAX, Instant::now());
    loop {
        let open = database::count_open(url).await;
        if open == 0 {
            return;
        }
        if open < fewest {
            (fewest, progress) = (open, Instant::now());
        }
        assert!(
            progress.elapsed() < GIVE_UP,
            "gave up: {open} events are open, and none ended for {GIVE_UP:?}"
        );
        sleep(COUNT_INTERVAL).await;
    }
}

/// The URL of an SQLite file in a directory.
pub(crate) fn sqlite_url(directory: &Path) -> String {
    format!("sqlite://{}/inbox.db", directory.display())
}
