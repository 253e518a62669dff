//! The metrics of the inbox.

#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::commit::slow_and_fast;
use crate::support::{Calls, POLL, TestDatabase, WAIT, deliver, deliver_new, entry, gated_worker, wait_for};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use roomz_webhook::testing::TestEvent;
use sqlx::Connection as _;

const DONE: &str = "roomz_inbox_attempts_total{outcome=done}";

/// The values by name and labels. A histogram is the number of its values.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, f64>>>);

struct Value {
    values: Values,
    name: String,
}

impl Values {
    fn value(&self, key: &Key) -> Arc<Value> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Value { values: self.clone(), name: format!("{}{{{}}}", key.name(), labels.join(",")) })
    }

    fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }

    async fn wait_for(&self, name: &str) {
        let start = Instant::now();
        while self.get(name) < 1.0 {
            assert!(start.elapsed() < WAIT, "{name} is 0");
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.value(key))
    }
}

impl Value {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(self.values.0.lock().unwrap().entry(self.name.clone()).or_default());
    }
}

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        self.change(|current| *current += value as f64);
    }
    fn absolute(&self, value: u64) {
        self.change(|current| *current = value as f64);
    }
}

impl GaugeFn for Value {
    fn increment(&self, value: f64) {
        self.change(|current| *current += value);
    }
    fn decrement(&self, value: f64) {
        self.change(|current| *current -= value);
    }
    fn set(&self, value: f64) {
        self.change(|current| *current = value);
    }
}

impl HistogramFn for Value {
    fn record(&self, _: f64) {
        self.change(|current| *current += 1.0);
    }
}

/// On one thread, because the recorder belongs to it: the other tests of this program have metrics, too.
#[tokio::test]
async fn attempts_depth_and_failures_are_counted() {
    let values = Values::default();
    let _guard = metrics::set_default_local_recorder(&values);
    let database = TestDatabase::sqlite();
    let inbox = Inbox::builder(&database.url).with_max_open(3).connect().await.unwrap();
    for name in [
        "roomz_inbox_full_total{}",
        "roomz_inbox_attempts_total{outcome=dead}",
        "roomz_inbox_database_errors_total{operation=take}",
    ] {
        assert_eq!(values.0.lock().unwrap().get(name), Some(&0.0), "{name} exists from the start");
    }
    database.create_effects().await;
    let events =
        [deliver_new(&inbox).await, deliver_new(&inbox).await, TestEvent::busy().with_type("unknown")];
    assert_eq!(deliver(&inbox, &events[2]).await, 202);
    while deliver(&inbox, &TestEvent::busy()).await != 503 {}
    assert_eq!(values.get("roomz_inbox_full_total{}"), 1.0);
    // Those that were accepted before the count.
    database.execute("DELETE FROM roomz_inbox WHERE rowid > 3").await;

    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_concurrency(1).with_backoff(WAIT * 60, WAIT * 60).start();
    calls.next().await.succeed();
    wait_for(&inbox, &events[0], InboxState::Done).await;
    calls.next().await.fail("broken");
    wait_for(&inbox, &events[1], InboxState::Waiting).await;
    while entry(&inbox, &events[2]).await.error.is_none() {
        tokio::time::sleep(POLL).await;
    }
    worker.shutdown(WAIT).await;
    // This worker permits one attempt.
    let (service, _calls) = Calls::new();
    let worker = inbox.worker(service).with_max_attempts(1).with_poll_interval(POLL).start();
    database.execute("UPDATE roomz_inbox SET due = 0 WHERE state = 0 AND rowid = 3").await;
    wait_for(&inbox, &events[2], InboxState::Dead).await;
    worker.shutdown(WAIT).await;
    let attempts = |outcome| values.get(&format!("roomz_inbox_attempts_total{{outcome={outcome}}}"));
    assert_eq!(
        [attempts("done"), attempts("failed"), attempts("dead"), attempts("lost")],
        [1.0, 2.0, 1.0, 0.0]
    );
    assert_eq!(values.get("roomz_inbox_done_seconds{}"), 1.0);

    // A worker sets the gauges at its start.
    let (worker, _calls) = gated_worker(&inbox);
    let start = Instant::now();
    values.wait_for("roomz_inbox_events{state=dead}").await;
    assert_eq!(values.get("roomz_inbox_events{state=running}"), 0.0);
    assert!(values.get("roomz_inbox_oldest_seconds{}") > 0.0);
    worker.shutdown(Duration::ZERO).await;

    // A database that fails at once keeps no worker busy: it tries again at its interval, which is long.
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.execute("DROP TABLE roomz_inbox").await;
    let errors =
        |operation| values.get(&format!("roomz_inbox_database_errors_total{{operation={operation}}}"));
    let (service, _calls) = Calls::new();
    let worker = inbox.worker(service).with_poll_interval(WAIT * 60).start();
    for _ in 0..50 {
        assert_eq!(deliver(&inbox, &TestEvent::busy()).await, 503);
    }
    while errors("take") < 1.0 {
        tokio::time::sleep(POLL).await;
    }
    assert_eq!((errors("take"), errors("enqueue")), (1.0, 50.0));
    // Old numbers would look current.
    let gauges = ["events{state=waiting}", "events{state=running}", "events{state=dead}", "oldest_seconds{}"];
    while !gauges.iter().all(|name| values.get(&format!("roomz_inbox_{name}")).is_nan()) {
        assert!(start.elapsed() < WAIT * 2, "a gauge still has a number");
        tokio::time::sleep(POLL).await;
    }
    assert!(errors("stats") >= 1.0);
    worker.shutdown(WAIT).await;
}

/// The database fails when the end of an attempt is recorded, and when a shutdown gives its event back.
#[tokio::test]
async fn failures_of_recording_are_counted() {
    let values = Values::default();
    let _guard = metrics::set_default_local_recorder(&values);
    let database = TestDatabase::sqlite();
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let handler = tower::service_fn(move |_: Job| {
        let (reply, end) = tokio::sync::oneshot::channel::<()>();
        started.send(reply).unwrap();
        async move { Err::<(), BoxError>(if end.await.is_ok() { "broken" } else { "dropped" }.into()) }
    });
    let worker = inbox.worker(handler).with_poll_interval(POLL).start();
    let event = deliver_new(&inbox).await;
    let end = starts.recv().await.unwrap();
    let mut other = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    end.send(()).unwrap();
    values.wait_for("roomz_inbox_database_errors_total{operation=fail}").await;
    lock.rollback().await.unwrap();
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert_eq!(failed.error.as_deref(), Some("broken"));

    database.make_due().await;
    let _end = starts.recv().await.unwrap();
    database.execute("DROP TABLE roomz_inbox").await;
    worker.shutdown(Duration::ZERO).await;
    // A take that failed meanwhile may be one more.
    assert!(values.get("roomz_inbox_database_errors_total{operation=give_back}") >= 1.0);
    assert_eq!(values.get("roomz_inbox_attempts_total{outcome=shut_down}"), 1.0);
}

/// SQLite. Until another commit synced that of the handler, the event does not count as done.
#[tokio::test]
async fn event_is_done_when_it_is_durable() {
    let values = Values::default();
    let _guard = metrics::set_default_local_recorder(&values);
    let database = TestDatabase::sqlite();
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    database
        .execute(
            "CREATE TRIGGER reject BEFORE UPDATE ON roomz_inbox WHEN OLD.state = 2 BEGIN SELECT RAISE(ABORT, ''); END",
        )
        .await;
    let (worker, mut calls) = gated_worker(&inbox);
    let event = deliver_new(&inbox).await;
    calls.next().await.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    values.wait_for("roomz_inbox_database_errors_total{operation=confirm}").await;
    assert_eq!(values.get(DONE), 0.0);
    database.execute("DROP TRIGGER reject").await;
    values.wait_for(DONE).await;
    worker.shutdown(WAIT).await;
}

/// SQLite. The commit is known, however long the transaction of another handler delays its confirmation.
#[tokio::test]
async fn slow_transaction_is_no_database_error() {
    let values = Values::default();
    let _guard = metrics::set_default_local_recorder(&values);
    let database = TestDatabase::sqlite();
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let (slow, fast) = (TestEvent::presence("slow"), TestEvent::presence("fast"));
    for event in [&slow, &fast] {
        assert_eq!(deliver(&inbox, event).await, 202);
    }
    let (handler, _, end) = slow_and_fast();
    let worker = inbox.worker(handler).with_lease(Duration::from_secs(4)).start();
    let unrecorded = "roomz_inbox_attempts_total{outcome=unrecorded}";
    while values.get(DONE) + values.get(unrecorded) == 0.0 {
        tokio::time::sleep(POLL).await;
    }
    end.add_permits(1);
    wait_for(&inbox, &slow, InboxState::Done).await;
    worker.shutdown(WAIT).await;
    let failed =
        |operation| values.get(&format!("roomz_inbox_database_errors_total{{operation={operation}}}"));
    assert_eq!((values.get(DONE), failed("complete"), failed("confirm")), (2.0, 0.0, 0.0));
}
