//! When events are handled, and how often, while handlers fail and processes die.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{
    deliver, deliver_until_accepted, eventually, id, new_receiver, server_and_broker, stored_ids, stored_in,
};
use async_nats::jetstream::consumer::{Info, PullConsumer};
use nats::broker::{Broker, STREAM};
use nats::consumer::{self, BoxError, CONSUMER, DEAD_LETTERS, Settings};
use roomz_axum::Event;
use roomz_axum::testing::TestEvent;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Failed events come again at once.
fn without_delay() -> Settings {
    Settings { retry_delay: Duration::ZERO, ..Settings::default() }
}

/// A running consumer.
struct Consumer {
    task: JoinHandle<Result<(), BoxError>>,
    shutdown: oneshot::Sender<()>,
    /// The ids of the events that were passed to the handler.
    handled: Arc<Mutex<Vec<String>>>,
}

impl Consumer {
    /// Starts a consumer whose handler returns the result of `handle` for the id and the number of this call.
    fn start(
        broker: &Broker,
        settings: Settings,
        handle: impl Fn(&str, usize) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        let (shutdown, signal) = oneshot::channel();
        let (broker, handled) = (broker.clone(), Arc::new(Mutex::new(Vec::new())));
        let recorded = handled.clone();
        let task = tokio::spawn(async move {
            let handler = |event: Event| {
                let id = event.id.to_string();
                let mut recorded = recorded.lock().unwrap();
                recorded.push(id.clone());
                std::future::ready(handle(&id, recorded.len()))
            };
            consumer::run(&broker, settings, handler, async { signal.await.unwrap() }).await
        });
        Self { task, shutdown, handled }
    }

    fn handled(&self) -> Vec<String> {
        self.handled.lock().unwrap().clone()
    }

    async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// The durable consumer, as the server has it.
async fn consumer_info(broker: &Broker) -> Info {
    let consumer: PullConsumer = broker.stream().get_consumer(CONSUMER).await.unwrap();
    consumer.cached_info().clone()
}

/// The number of events that were delivered but not acknowledged, and of those not yet delivered.
async fn outstanding(broker: &Broker) -> (usize, u64) {
    let info = consumer_info(broker).await;
    (info.num_ack_pending, info.num_pending)
}

/// Also an event that was stored before the consumer existed.
#[tokio::test]
async fn consumes_each_event_once() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let receiver = new_receiver(&broker);
    let events = [(); 20].map(|()| TestEvent::busy());
    let (before, after) = events.split_at(10);
    for event in before {
        assert_eq!(deliver(&receiver, event).await.status, 202);
    }
    let consumer = Consumer::start(&broker, without_delay(), |_, _| Ok(()));
    for event in after {
        assert_eq!(deliver(&receiver, event).await.status, 202);
        assert_eq!(deliver(&new_receiver(&broker), event).await.status, 200);
    }
    eventually("20 events are handled", async || consumer.handled().len() >= 20).await;
    eventually("nothing is outstanding", async || outstanding(&broker).await == (0, 0)).await;
    assert_eq!(consumer.handled(), events.each_ref().map(id), "in the order of the stream");
    consumer.stop().await;
    assert_eq!(consumer_info(&broker).await.config.durable_name.as_deref(), Some(CONSUMER));

    // A consumer that starts again goes on after the acknowledged events. They are still stored: their
    // duplicates are known.
    let consumer = Consumer::start(&broker, without_delay(), |_, _| Ok(()));
    let last = TestEvent::free();
    assert_eq!(deliver(&new_receiver(&broker), &events[0]).await.status, 200);
    assert_eq!(deliver(&receiver, &last).await.status, 202);
    eventually("the last event is handled", async || !consumer.handled().is_empty()).await;
    assert_eq!(consumer.handled(), [id(&last)]);
    assert_eq!(stored_ids(&broker).await.len(), 21);
    consumer.stop().await;
}

#[tokio::test]
async fn delivers_failed_event_again() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy();
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 202);
    let consumer = Consumer::start(&broker, without_delay(), |_, calls| match calls {
        1 | 2 => Err("the database is down".into()),
        _ => Ok(()),
    });
    eventually("the event is handled", async || {
        consumer.handled().len() >= 3 && outstanding(&broker).await == (0, 0)
    })
    .await;
    assert_eq!(consumer.handled(), vec![id(&event); 3]);
    consumer.stop().await;
}

/// The process dies while it handles an event. After `ack_wait`, the event goes to another process.
#[tokio::test]
async fn delivers_event_of_dead_process_again() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let event = TestEvent::busy();
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 202);
    // The server runs this timeout.
    let settings = Settings { ack_wait: Duration::from_millis(500), ..without_delay() };
    let (started, start) = oneshot::channel();
    let started = Mutex::new(Some(started));
    let dying = tokio::spawn({
        let broker = broker.clone();
        async move {
            let handle = async |_| {
                started.lock().unwrap().take().unwrap().send(()).unwrap();
                std::future::pending().await
            };
            consumer::run(&broker, settings, handle, std::future::pending()).await
        }
    });
    start.await.unwrap();
    dying.abort();

    let consumer = Consumer::start(&broker, settings, |_, _| Ok(()));
    eventually("the event is handled", async || {
        consumer.handled().len() == 1 && outstanding(&broker).await == (0, 0)
    })
    .await;
    assert_eq!(consumer.handled(), [id(&event)]);
    consumer.stop().await;
}

/// An event that always fails does not stop the others. After `max_deliver` deliveries it is a dead letter,
/// and still in the stream.
#[tokio::test]
async fn failing_event_becomes_dead_letter() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let receiver = new_receiver(&broker);
    let (bad, good) = (TestEvent::busy(), TestEvent::busy());
    let bad_id = id(&bad);
    let settings = Settings { max_deliver: 3, ..without_delay() };
    let consumer = Consumer::start(&broker, settings, move |id, _| {
        if id == bad_id { Err("it cannot be handled".into()) } else { Ok(()) }
    });
    assert_eq!(deliver(&receiver, &bad).await.status, 202);
    assert_eq!(deliver(&receiver, &good).await.status, 202);
    eventually("there is a dead letter", async || !stored_in(&broker, DEAD_LETTERS).await.is_empty()).await;
    eventually("nothing is outstanding", async || outstanding(&broker).await == (0, 0)).await;
    let count =
        |event: &TestEvent| consumer.handled().iter().filter(|handled| **handled == id(event)).count();
    assert_eq!((count(&bad), count(&good)), (3, 1));

    let letters = stored_in(&broker, DEAD_LETTERS).await;
    let advisory: serde_json::Value = serde_json::from_slice(&letters[0].body).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((&advisory["stream"], &advisory["deliveries"]), (&STREAM.into(), &3.into()));
    let sequence = advisory["stream_seq"].as_u64().unwrap();
    assert_eq!(broker.stream().get_raw_message(sequence).await.unwrap().payload, bad.body());
    consumer.stop().await;
}

/// Something else publishes to the subjects of the stream.
#[tokio::test]
async fn unreadable_message_becomes_dead_letter() {
    let Some((_server, broker)) = server_and_broker().await else { return };
    let consumer = Consumer::start(&broker, without_delay(), |_, _| Ok(()));
    let published = broker.context().publish("roomz.events.1", "no event".into()).await.unwrap();
    assert_eq!(published.await.unwrap().sequence, 1);
    let event = TestEvent::busy();
    assert_eq!(deliver(&new_receiver(&broker), &event).await.status, 202);
    eventually("the event is handled", async || !consumer.handled().is_empty()).await;
    eventually("nothing is outstanding", async || outstanding(&broker).await == (0, 0)).await;
    assert_eq!(consumer.handled(), [id(&event)]);
    let letters = stored_in(&broker, DEAD_LETTERS).await;
    let advisory: serde_json::Value = serde_json::from_slice(&letters[0].body).unwrap();
    assert_eq!((letters.len(), &advisory["stream_seq"]), (1, &1.into()));
    consumer.stop().await;
}

/// The server is killed and started again while the consumer waits for events.
#[tokio::test]
async fn consumer_continues_after_outage() {
    let Some((mut server, broker)) = server_and_broker().await else { return };
    let receiver = new_receiver(&broker);
    let consumer = Consumer::start(&broker, without_delay(), |_, _| Ok(()));
    let events = [TestEvent::busy(), TestEvent::busy()];
    deliver_until_accepted(&receiver, &events[0]).await;
    eventually("the first event is handled", async || consumer.handled().len() == 1).await;
    eventually("nothing is outstanding", async || outstanding(&broker).await == (0, 0)).await;
    server.kill();
    eventually("disconnected", async || !broker.is_connected()).await;
    server.restart();
    deliver_until_accepted(&receiver, &events[1]).await;
    eventually("the second event is handled", async || consumer.handled().contains(&id(&events[1]))).await;
    consumer.stop().await;
}

/// The server is restarted regularly while the consumer works. No event waits for its `ack_wait`: the
/// consumer must not request one that it does not handle.
#[tokio::test]
async fn restarted_server_delays_no_event() {
    let Some((mut server, broker)) = server_and_broker().await else { return };
    let receiver = new_receiver(&broker);
    let events = [(); 300].map(|()| TestEvent::busy());
    for event in &events {
        assert_eq!(deliver(&receiver, event).await.status, 202);
    }
    let settings = Settings { ack_wait: Duration::from_secs(600), ..without_delay() };
    let consumer = Consumer::start(&broker, settings, |_, _| Ok(()));
    eventually("some events are handled", async || consumer.handled().len() > 50).await;
    server.signal("TERM");
    eventually("disconnected", async || !broker.is_connected()).await;
    server.kill();
    server.restart();
    let all: HashSet<_> = events.iter().map(id).collect();
    eventually("all events are handled", async || {
        consumer.handled().into_iter().collect::<HashSet<_>>() == all
    })
    .await;
    consumer.stop().await;
}
