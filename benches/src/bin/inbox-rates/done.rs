//! The time from the 202 until the event is done, at a constant rate of new events.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roomz_inbox::{BoxError, Inbox, Job, Worker, WorkspacePresenceChanged};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tower::service_fn;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::admission::receiver;
use crate::bare::execute;
use crate::load::{Latencies, deliver, delivery, millis};

const DURATION: Duration = Duration::from_secs(5);
/// The events of the measurement of the worker alone.
const BACKLOG: usize = 5_000;
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// When each event was done, from the log line that follows the commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Arc<Mutex<HashMap<String, Instant>>>);

impl Times {
    /// Records from now on.
    pub(crate) fn record() -> Self {
        let times = Self::default();
        let is_wanted = filter_fn(|metadata| {
            metadata.target().starts_with("roomz_inbox") && *metadata.level() <= Level::DEBUG
        });
        let subscriber = Registry::default().with(times.clone().with_filter(is_wanted));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        times
    }

    async fn wait_for(&self, count: usize) -> HashMap<String, Instant> {
        while self.0.lock().unwrap().len() < count {
            sleep(POLL_INTERVAL).await;
        }
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Measures the worker alone, and then at parts of the highest admission rate and of its own.
pub(crate) async fn measure(name: &str, url: &str, peak: f64, times: &Times) {
    execute(
        url,
        "CREATE TABLE presence_log (event_id TEXT, workspace_id TEXT, status TEXT, handled_at BIGINT)",
    )
    .await;
    let inbox = Inbox::connect(url).await.unwrap();
    let _ = deliver_at(&inbox, f64::INFINITY, BACKLOG).await;
    let start = Instant::now();
    let worker = start_worker(&inbox);
    let _ = times.wait_for(BACKLOG).await;
    let worked = BACKLOG as f64 / start.elapsed().as_secs_f64();
    println!("{name}: the worker does {worked:.0} events per second of a backlog, one transaction each");
    for (of, all) in [("peak admission", peak), ("the worker's rate", worked)] {
        for (part, text) in [(0.1, "a tenth"), (0.5, "half")] {
            let rate = all * part;
            let count = (rate * DURATION.as_secs_f64()) as usize;
            let accepted = deliver_at(&inbox, rate, count).await;
            let done = times.wait_for(count).await;
            let latencies = Latencies::of(
                accepted
                    .into_iter()
                    .map(|(id, accepted)| millis(done.get(&id).unwrap().saturating_duration_since(accepted)))
                    .collect(),
            );
            let milliseconds = |part| latencies.percentile(part);
            println!(
                "{name}, {text} of {of}, {rate:.0} per second for {DURATION:?}: 202 to done p50 {:.1} ms, p99 {:.1} ms, most {:.1} \
                 ms ({} events)",
                milliseconds(0.5),
                milliseconds(0.99),
                milliseconds(1.0),
                latencies.count(),
            );
        }
    }
    worker.shutdown(DURATION).await;
}

/// Delivers new events at this rate, and returns when each was accepted.
async fn deliver_at(inbox: &Inbox, rate: f64, count: usize) -> Vec<(String, Instant)> {
    let (receiver, mut tasks, mut accepted) = (receiver(inbox), JoinSet::new(), Vec::new());
    let (start, mut tick) = (Instant::now(), interval(Duration::from_millis(1)));
    let mut sent = 0;
    while sent < count {
        let _ = tick.tick().await;
        let due = (rate * start.elapsed().as_secs_f64()) as usize;
        // The endpoint accepts up to 4 096 events at once.
        while sent < due.min(count) && tasks.len() < 1_000 {
            let ((id, request), receiver) = (delivery(), receiver.clone());
            let _ = tasks.spawn(async move {
                deliver(receiver, request).await;
                (id, Instant::now())
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

fn start_worker(inbox: &Inbox) -> Worker {
    inbox.worker(service_fn(handle)).start()
}

/// Inserts one row, as the example does.
async fn handle(mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    const SQL: &str =
        "INSERT INTO presence_log (event_id, workspace_id, status, handled_at) VALUES ($1, $2, $3, $4)";
    let event = job.event();
    let id = event.id.to_string();
    let (workspace, status) =
        (event.data.workspace_id.to_string(), event.data.presence_status.as_str().to_owned());
    let time = event.timestamp.as_millisecond();
    if job.is_postgres() {
        let insert = sqlx::query(SQL).bind(id).bind(workspace).bind(status).bind(time);
        let _ = insert.execute(job.postgres().await?).await?;
    } else {
        let insert = sqlx::query(SQL).bind(id).bind(workspace).bind(status).bind(time);
        let _ = insert.execute(job.sqlite().await?).await?;
    }
    Ok(())
}

impl<S: Subscriber> Layer<S> for Times {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut id = EventId::default();
        event.record(&mut id);
        if id.is_done {
            let _ = self.0.lock().unwrap().insert(id.text, Instant::now());
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
