//! The time from the 202 until an event is done.

use std::collections::HashMap;
use std::env::current_exe;
use std::fmt::Debug;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomz_inbox::Inbox;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::report::percentile;

use super::load::{deliver, delivery};
use super::rates::{open, receiver, start};

/// Events per second of a receiver that is mostly idle.
const IDLE_RATE: f64 = 10.0;
const DURATION: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// When each event was done, from the log line that follows the commit.
#[derive(Clone, Debug, Default)]
struct Times(Arc<Mutex<HashMap<String, Duration>>>);

impl Times {
    /// Records from now on.
    fn record(&self) {
        let is_wanted = filter_fn(|metadata| {
            metadata.target().starts_with("roomz_inbox") && *metadata.level() <= Level::DEBUG
        });
        let subscriber = Registry::default().with(self.clone().with_filter(is_wanted));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    }

    async fn wait_for(&self, count: usize) -> HashMap<String, Duration> {
        while self.0.lock().unwrap().len() < count {
            sleep(POLL_INTERVAL).await;
        }
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Prints the latencies with a worker in this process, mostly idle and at this rate, and then with a
/// worker in another process.
pub(crate) async fn print(url: &str, rate: f64, has_transaction: bool) {
    let (inbox, times) = (open(url, 10).await, Times::default());
    times.record();
    let worker = start(&inbox, has_transaction, 10);
    measure("202 to done, mostly idle", &inbox, IDLE_RATE, &times).await;
    measure("202 to done, half of the worker's rate", &inbox, rate, &times).await;
    worker.shutdown(DURATION).await;
    let mut other = Command::new(current_exe().unwrap());
    let mut other = other.args(["worker", url]).stdout(Stdio::piped()).spawn().unwrap();
    let (lines, of_other) = (BufReader::new(other.stdout.take().unwrap()), times.clone());
    let reader = std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let (id, time) = line.split_once(' ').unwrap();
            let time = Duration::from_nanos(time.parse().unwrap());
            let _ = of_other.0.lock().unwrap().insert(id.to_owned(), time);
        }
    });
    // It has started.
    deliver_at(&inbox, 1.0, 1).await;
    let _ = times.wait_for(1).await;
    measure("202 to done, other process, mostly idle", &inbox, IDLE_RATE, &times).await;
    // Each event comes when the worker found none for a while.
    let mut rare = Vec::new();
    for _ in 0..2 {
        sleep(Duration::from_millis(rand::random_range(2_000..3_000))).await;
        let accepted = deliver_at(&inbox, 1.0, 1).await;
        rare.extend(latencies(&accepted, &times.wait_for(1).await));
    }
    println!("202 to done, other process, rare, mean ms\t{}", rare.iter().sum::<f64>() / rare.len() as f64);
    other.kill().unwrap();
    let _ = other.wait().unwrap();
    reader.join().unwrap();
}

/// A worker in a process of its own, which prints when an event is done.
pub(crate) async fn work(url: &str) {
    let inbox = Inbox::connect(url).await.unwrap();
    let times = Times::default();
    times.record();
    let _worker = start(&inbox, true, 10);
    loop {
        sleep(POLL_INTERVAL).await;
        for (id, time) in std::mem::take(&mut *times.0.lock().unwrap()) {
            println!("{id} {}", time.as_nanos());
        }
    }
}

async fn measure(name: &str, inbox: &Inbox, rate: f64, times: &Times) {
    let count = (rate * DURATION.as_secs_f64()) as usize;
    let accepted = deliver_at(inbox, rate, count).await;
    let mut latencies = latencies(&accepted, &times.wait_for(count).await);
    latencies.sort_by(f64::total_cmp);
    for (part, text) in [(0.5, "p50"), (0.99, "p99")] {
        println!("{name}, {text} ms\t{}", percentile(&latencies, part));
    }
}

/// In milliseconds.
fn latencies(accepted: &[(String, Duration)], done: &HashMap<String, Duration>) -> Vec<f64> {
    let latency = |(id, accepted): &(String, Duration)| {
        done.get(id).unwrap().saturating_sub(*accepted).as_secs_f64() * 1_000.0
    };
    accepted.iter().map(latency).collect()
}

/// Delivers new events at this rate, and returns when each was accepted.
async fn deliver_at(inbox: &Inbox, rate: f64, count: usize) -> Vec<(String, Duration)> {
    let (receiver, mut tasks, mut accepted) = (receiver(inbox), JoinSet::new(), Vec::new());
    let (start, mut tick) = (Instant::now(), interval(Duration::from_millis(1)));
    let mut sent = 0;
    while sent < count {
        let _ = tick.tick().await;
        let due = (rate * start.elapsed().as_secs_f64()) as usize + 1;
        // The endpoint accepts up to 4 096 events at once.
        while sent < due.min(count) && tasks.len() < 1_000 {
            let ((id, request), receiver) = (delivery(), receiver.clone());
            let _ = tasks.spawn(async move {
                deliver(receiver, request).await;
                (id, now())
            });
            sent += 1;
        }
        while let Some(one) = tasks.try_join_next() {
            accepted.push(one.unwrap());
        }
    }
    while let Some(one) = tasks.join_next().await {
        accepted.push(one.unwrap());
    }
    accepted
}

/// The same clock in all processes.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

impl<S: Subscriber> Layer<S> for Times {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut id = EventId::default();
        event.record(&mut id);
        if id.is_done {
            let _ = self.0.lock().unwrap().insert(id.text, now());
        }
    }
}

/// The event id of a log line, and whether it says that the event is done.
#[derive(Default)]
struct EventId {
    text: String,
    is_done: bool,
}

impl Visit for EventId {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "event_id" => self.text = format!("{value:?}"),
            "message" => self.is_done = format!("{value:?}") == "event done",
            _ => {}
        }
    }
}
