//! A duplicate of an event that runs or is complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, header};
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, EventId, Skipped};
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use super::OK;
use crate::support::{Fault, Op, TestReceiver, TokioClock, rounds, secret};

/// The response is 200, with a header and an extension that mark it as duplicate.
#[tokio::test]
async fn acknowledges_duplicate_without_handler() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.skipped, None);
    for _ in 0..3 {
        let response = receiver.deliver(&event).await;
        assert_eq!((response.status, response.skipped), (StatusCode::OK, Some(Skipped::Duplicate)));
        assert_eq!(response.headers[Skipped::HEADER], "duplicate");
        assert_eq!(response.body, r#"{"skipped":"duplicate"}"#);
    }
    assert_eq!(receiver.runs(), 1);
}

/// Logs in front of the layer can name the event of a response that no handler gave.
#[tokio::test]
async fn response_without_handler_has_event_id() {
    let panics = Arc::new(AtomicUsize::new(1));
    let receiver = TestReceiver::with_handler(move |_| {
        let panics = Arc::clone(&panics);
        async move {
            assert_eq!(panics.swap(0, Ordering::SeqCst), 0, "the first handler panics");
            OK
        }
    });
    let id: EventId = "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap();
    let event = TestEvent::busy().with_id(id);
    receiver.store.inject(Op::Claim, Fault::Error, usize::MAX);
    for (status, expected) in [(503, Some(&id)), (500, Some(&id)), (200, None), (200, Some(&id))] {
        let response = receiver.service().oneshot(event.request("/", &secret())).await.unwrap();
        assert_eq!((response.status().as_u16(), response.extensions().get()), (status, expected));
        receiver.store.clear_faults();
    }
}

#[tokio::test]
async fn spellings_of_one_id_are_duplicates() {
    let receiver = TestReceiver::new();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    let plain = id.replace('-', "");
    for spelling in [id, &id.to_uppercase(), &plain, &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
        assert_eq!(receiver.deliver(&TestEvent::busy().with("id", spelling)).await.status, 200, "{spelling}");
    }
    assert_eq!(receiver.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn duplicate_waits_for_running_handler() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(9)).await;
        OK
    });
    let event = TestEvent::busy();
    let start = Instant::now();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        (receiver.deliver(&event).await, start.elapsed())
    });
    assert_eq!((first.status, first.skipped), (StatusCode::OK, None));
    assert_eq!((second.0.status, second.0.skipped), (StatusCode::OK, Some(Skipped::Duplicate)));
    assert_eq!(second.1, Duration::from_secs(9), "when the handler returns");
    assert_eq!(receiver.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn duplicate_gets_503_after_ten_seconds() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(30)).await;
        OK
    });
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        (receiver.deliver(&event).await, start.elapsed())
    });
    assert_eq!(first.status, 200);
    assert_eq!(second.0.outcome(), (503, "in-flight".into()));
    assert_eq!(second.0.headers[header::RETRY_AFTER], "5");
    assert_eq!(second.1, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn one_waiter_runs_when_handler_fails() {
    let failures = Arc::new(AtomicUsize::new(0));
    let counter = failures.clone();
    let receiver = TestReceiver::with_handler(move |delivery: Delivery| {
        let counter = counter.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            if delivery.attempt() < 3 {
                counter.fetch_add(1, Ordering::SeqCst);
                return Ok(StatusCode::INTERNAL_SERVER_ERROR);
            }
            OK
        }
    });
    let event = TestEvent::busy();
    let start = Instant::now();
    let responses = join_all((0..20).map(|_| receiver.deliver(&event))).await;
    let count = |status: u16| responses.iter().filter(|response| response.status == status).count();
    assert_eq!(
        (count(500), count(200)),
        (2, 18),
        "two runs fail, one succeeds, and 17 duplicates wait for it"
    );
    assert_eq!(responses.iter().filter(|response| response.skipped.is_some()).count(), 17);
    assert_eq!((receiver.runs(), failures.load(Ordering::SeqCst)), (3, 2));
    assert_eq!(start.elapsed(), Duration::from_secs(3), "every waiter is notified");
}

#[tokio::test(start_paused = true)]
async fn waiter_stops_when_client_disconnects() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(30)).await;
        OK
    });
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        let waiting = join_all((0..50).map(|_| receiver.deliver(&event)));
        assert!(timeout(Duration::from_secs(1), waiting).await.is_err(), "50 duplicates wait and disconnect");
        let calls = receiver.store.calls(Op::Claim);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(receiver.store.calls(Op::Claim), calls, "nobody calls the store");
    });
    assert_eq!(first.status, 200);
}

/// 503 at once above 100 waiters of one event.
#[tokio::test(start_paused = true)]
async fn limits_waiters_of_one_event() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        OK
    });
    let event = TestEvent::busy();
    let (first, responses) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        join_all((0..150).map(|_| receiver.deliver(&event))).await
    });
    let outcomes = |outcome: (u16, &str)| {
        responses.iter().filter(|response| response.outcome() == (outcome.0, outcome.1.to_owned())).count()
    };
    assert_eq!(first.status, 200);
    assert_eq!((outcomes((200, "duplicate")), outcomes((503, "in-flight"))), (100, 50));
}

/// 503 at once above 1 000 waiters of all events.
#[tokio::test(start_paused = true)]
async fn limits_waiters_of_all_events() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        OK
    });
    let events: Vec<_> = (0..15).map(|_| TestEvent::busy()).collect();
    let (firsts, responses) =
        tokio::join!(join_all(events.iter().map(|event| receiver.deliver(event))), async {
            sleep(Duration::from_secs(1)).await;
            join_all((0..80).flat_map(|_| &events).map(|event| receiver.deliver(event))).await
        });
    assert!(firsts.iter().all(|response| response.status == 200));
    let rejected = responses.iter().filter(|response| response.status == 503).count();
    assert_eq!((rejected, responses.len()), (200, 1_200));
}

/// Rounds of 64 concurrent deliveries of one event.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_duplicates_run_once() {
    for _ in 0..rounds(200, 10_000) {
        let receiver = TestReceiver::with_handler(async |_| {
            tokio::task::yield_now().await;
            OK
        });
        let event = TestEvent::busy();
        let barrier = Arc::new(Barrier::new(64));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (receiver, event, barrier) = (receiver.clone(), event.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    receiver.deliver(&event).await
                })
            })
            .collect();
        let mut skipped = 0;
        for task in tasks {
            let response = task.await.unwrap();
            assert_eq!(response.status, 200);
            skipped += usize::from(response.skipped == Some(Skipped::Duplicate));
        }
        assert_eq!((receiver.runs(), skipped), (1, 63));
    }
}

/// Two layers on one store behave like two processes: one cannot notify the waiters of the other.
#[tokio::test(start_paused = true)]
async fn duplicate_polls_for_other_process() {
    let store = MokaStore::builder().with_clock(TokioClock::new()).build();
    let shared = store.clone();
    let one = TestReceiver::with(
        |builder| builder.with_store(shared),
        async |_| {
            sleep(Duration::from_secs(4)).await;
            OK
        },
    );
    let two = TestReceiver::with(|builder| builder.with_store(store), async |_| OK);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(one.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        (two.deliver(&event).await, start.elapsed())
    });
    assert_eq!(first.skipped, None);
    assert_eq!(second.0.skipped, Some(Skipped::Duplicate));
    assert!(second.1 <= Duration::from_secs(4), "at most one second after the completion: {:?}", second.1);
    assert_eq!((one.runs(), two.runs()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn handles_event_again_after_retention() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.skipped, None);
    let day = Duration::from_secs(24 * 60 * 60);
    sleep(day * 7 - Duration::from_secs(1)).await;
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.deliver(&event).await.skipped, None);
    assert_eq!(receiver.runs(), 2);
}
