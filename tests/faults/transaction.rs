//! Handlers complete their events in the transaction of their effect. Their process is killed before every
//! statement, or during a commit, or pauses.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use roomz_tests::fleet::spawn_receiver;
use roomz_tests::sender::deliver;
use roomz_tests::transactions::{Fault, Step};
use roomz_webhook::EventId;
use roomz_webhook::testing::TestEvent;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::task::JoinSet;

use crate::faults::backend::Backend;
use roomz_tests::{few_at_a_time, rounds};

/// How many kills run at once, each with a receiver of its own.
const LANES: usize = 4;
/// How many events each receiver handles concurrently when it is killed.
const EVENTS: usize = 6;
/// A commit takes a few milliseconds.
const COMMIT_TIME: Duration = Duration::from_millis(4);
/// The time after which an event must have been accepted.
const GIVE_UP: Duration = Duration::from_secs(30);

/// What the database holds for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    effects: i64,
    presence: i64,
    is_done: bool,
}

const NOTHING: Kept = Kept { effects: 0, presence: 0, is_done: false };
const EVERYTHING: Kept = Kept { effects: 1, presence: 1, is_done: true };

/// The process is killed directly before each step of the first handler.
pub(crate) async fn kill_before_each_step<B: Backend>(name: &'static str) {
    let _permit = few_at_a_time().await;
    let Some(backend) = B::start() else { return };
    let database = Database::create(backend.url(None)).await;
    for at in Step::ALL {
        let (event, fault) = (Event::new(), Fault::Kill { at, after: 0, delay: Duration::ZERO });
        let mut receiver = database.receiver(fault);
        // A busy machine can exceed the store timeout.
        let status = loop {
            match receiver.deliver(&event).await {
                Some(StatusCode::SERVICE_UNAVAILABLE) => {}
                status => break status,
            }
        };
        assert_eq!(status, None, "{at:?}");
        receiver.wait_until_killed().await;
        let expected = if at == Step::Respond { EVERYTHING } else { NOTHING };
        assert_eq!(database.kept(&event).await, expected, "killed before {at:?}");
        database.receiver(Fault::None).deliver_until_accepted(&event).await;
        assert_eq!(database.kept(&event).await, EVERYTHING, "killed before {at:?}");
    }
    report::<B>(name, format_args!("killed before {} steps", Step::ALL.len()));
}

/// The process handles several events and is killed at a random time of the commit of one of them.
pub(crate) async fn kill_during_commit<B: Backend>(name: &'static str) {
    let _permit = few_at_a_time().await;
    let Some(backend) = B::start() else { return };
    let database = Database::create(backend.url(None)).await;
    let (undone, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (kills, mut lanes) = (rounds(20, 60), JoinSet::new());
    for _ in 0..LANES {
        let (database, undone, done) = (database.clone(), Arc::clone(&undone), Arc::clone(&done));
        lanes.spawn(async move {
            for _ in 0..kills / LANES {
                let delay = COMMIT_TIME.mul_f64(rand::random());
                let fault = Fault::Kill { at: Step::Commit, after: rand::random_range(0..EVENTS), delay };
                for kept in database.kill_under_load(fault).await {
                    if kept.is_done { &done } else { &undone }.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    let (undone, done) = (undone.load(Ordering::SeqCst), done.load(Ordering::SeqCst));
    let counts = format_args!("{kills} kills, {done} events done and {undone} not done after them");
    report::<B>(name, counts);
    assert!(undone > 0 && done > 0, "no kill between the first commit and the last");
}

/// The process stops before a step for longer than a lease. Another one handles the event meanwhile.
/// PostgreSQL ends the transaction of the first one after a while, so that its locks do not block the other.
pub(crate) async fn pause_before_each_step<B: Backend>(name: &'static str) {
    let _permit = few_at_a_time().await;
    let Some(backend) = B::start() else { return };
    let database = Database::create(backend.url(None)).await;
    // An open transaction in SQLite would block the other process.
    let steps = if B::NAME == "sqlite" { &[Step::Begin][..] } else { &Step::ALL[..5] };
    for &at in steps {
        let event = Event::new();
        let paused = Arc::new(database.receiver(Fault::Stop { at }));
        let first = tokio::spawn({
            let (paused, event) = (Arc::clone(&paused), event.clone());
            async move { paused.deliver(&event).await }
        });
        paused.wait_until_stopped().await;
        database.receiver(Fault::None).deliver_until_accepted(&event).await;
        assert_eq!(database.kept(&event).await, EVERYTHING, "paused before {at:?}");
        assert_eq!(database.attempt(&event).await, 2, "paused before {at:?}: no takeover");
        paused.signal("CONT");
        assert_eq!(first.await.unwrap(), Some(StatusCode::INTERNAL_SERVER_ERROR), "paused before {at:?}");
        assert_eq!(database.kept(&event).await, EVERYTHING, "paused before {at:?}");
        assert_eq!(paused.deliver(&event).await, Some(StatusCode::OK));
    }
    report::<B>(name, format_args!("paused before {} steps", steps.len()));
}

/// Prints a line to standard error, past the output capture of the test runner.
fn report<B: Backend>(name: &str, counts: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{}: {name}: {counts}", B::NAME);
}

#[derive(Clone)]
struct Event {
    id: EventId,
    body: Vec<u8>,
}

impl Event {
    fn new() -> Self {
        let id: EventId = format!("{:032x}", rand::random::<u128>()).parse().unwrap();
        Self { id, body: TestEvent::busy().with_id(id).body() }
    }
}

/// The database of the claims and the effects.
#[derive(Clone)]
struct Database {
    url: String,
}

impl Database {
    async fn create(url: String) -> Self {
        // Creates the tables.
        drop(roomz_sql::SqlStore::connect(url.as_str()).await.unwrap());
        // Nothing in the table prevents a second effect.
        let create = "CREATE TABLE effects (event_id TEXT NOT NULL)";
        if url.starts_with("sqlite") {
            SqliteConnection::connect(&url).await.unwrap().execute(create).await.unwrap();
        } else {
            PgConnection::connect(&url).await.unwrap().execute(create).await.unwrap();
        }
        Self { url }
    }

    fn receiver(&self, fault: Fault) -> Receiver {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transaction-receiver"));
        let (process, address) = spawn_receiver(command.args([&self.url, &fault.to_argument()]));
        Receiver { process, address }
    }

    /// Kills a receiver while it handles several events, and delivers them again until they are accepted.
    /// Returns what the database held after the kill.
    async fn kill_under_load(&self, fault: Fault) -> Vec<Kept> {
        let events: Vec<_> = (0..EVENTS).map(|_| Event::new()).collect();
        let mut receiver = self.receiver(fault);
        let address = receiver.address;
        let mut deliveries = JoinSet::new();
        for event in events.clone() {
            deliveries.spawn(async move {
                // A busy machine can exceed the store timeout, so a 503 is retried, until the process is
                // killed.
                while let Ok(status) = deliver(address, &event.body).await {
                    if status == StatusCode::OK {
                        return Some(event.id);
                    }
                }
                None
            });
        }
        let accepted: Vec<_> = deliveries.join_all().await;
        receiver.wait_until_killed().await;
        let mut all_kept = Vec::new();
        for event in &events {
            let kept = self.kept(event).await;
            assert!([NOTHING, EVERYTHING].contains(&kept), "{fault:?}: {kept:?}");
            if accepted.contains(&Some(event.id)) {
                assert_eq!(kept, EVERYTHING, "{fault:?}: an accepted event");
            }
            all_kept.push(kept);
        }
        let receiver = self.receiver(Fault::None);
        for event in &events {
            receiver.deliver_until_accepted(event).await;
            assert_eq!(self.kept(event).await, EVERYTHING, "{fault:?}");
        }
        all_kept
    }

    /// The number of the last attempt of an event.
    async fn attempt(&self, event: &Event) -> i64 {
        let select = "SELECT attempt FROM roomz_claims WHERE event_id = $1";
        let id = event.id.as_uuid().as_bytes().to_vec();
        if self.url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(select).bind(id).fetch_one(&mut connection).await.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_scalar(select).bind(id).fetch_one(&mut connection).await.unwrap()
        }
    }

    /// Reads everything in one statement, because the server may still execute a commit of a killed process.
    async fn kept(&self, event: &Event) -> Kept {
        let select = "SELECT (SELECT count(*) FROM effects WHERE event_id = $1), \
                      (SELECT count(*) FROM roomz_presence WHERE event_id = $2), \
                      (SELECT count(*) FROM roomz_claims WHERE event_id = $2 AND state = 2)";
        let (text, bytes) = (event.id.to_string(), event.id.as_uuid().as_bytes().to_vec());
        // A connection of its own, so that SQLite recovers the file if the killed process was the last one.
        let (effects, presence, done): (i64, i64, i64) = if self.url.starts_with("sqlite") {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            let row = sqlx::query_as(select).bind(text).bind(bytes).fetch_one(&mut connection).await;
            connection.close().await.unwrap();
            row.unwrap()
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query_as(select).bind(text).bind(bytes).fetch_one(&mut connection).await.unwrap()
        };
        Kept { effects, presence, is_done: done == 1 }
    }
}

struct Receiver {
    process: Child,
    address: std::net::SocketAddr,
}

impl Receiver {
    /// Returns the status, or `None` if the connection broke.
    async fn deliver(&self, event: &Event) -> Option<StatusCode> {
        deliver(self.address, &event.body).await.ok()
    }

    async fn deliver_until_accepted(&self, event: &Event) {
        let start = Instant::now();
        while self.deliver(event).await != Some(StatusCode::OK) {
            assert!(start.elapsed() < GIVE_UP, "the event was not accepted");
        }
    }

    async fn wait_until_killed(&mut self) {
        let start = Instant::now();
        // `wait` would close the standard input, and the process would exit.
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < GIVE_UP, "the process was not killed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    async fn wait_until_stopped(&self) {
        let file = format!("/proc/{}/stat", self.process.id());
        let start = Instant::now();
        while !std::fs::read_to_string(&file).unwrap().contains(") T ") {
            assert!(start.elapsed() < GIVE_UP, "the process did not stop");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn signal(&self, signal: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &process]).status().unwrap().success());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
