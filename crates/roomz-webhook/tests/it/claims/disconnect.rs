//! A client that disconnects before the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Skipped, WebhookBody, WebhookLayer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};

use super::OK;
use crate::support::{Op, TestReceiver, eventually, secret};

/// `drain` waits for the handler.
#[tokio::test(start_paused = true)]
async fn handler_finishes_after_disconnect() {
    let finished = Arc::new(AtomicBool::new(false));
    let flag = finished.clone();
    let receiver = TestReceiver::with_handler(move |_| {
        let flag = flag.clone();
        async move {
            sleep(Duration::from_secs(3)).await;
            flag.store(true, Ordering::SeqCst);
            OK
        }
    });
    let event = TestEvent::busy();
    let response = timeout(Duration::from_secs(1), receiver.deliver(&event)).await;
    assert!(response.is_err() && !finished.load(Ordering::SeqCst));

    let start = Instant::now();
    receiver.layer.drain().await;
    assert!(finished.load(Ordering::SeqCst), "`drain` waits for the handler");
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(receiver.store.calls(Op::Complete), 1);
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(receiver.runs(), 1);
}

/// The limit counts handlers whose client disconnected. The others wait for their turn.
#[tokio::test(start_paused = true)]
async fn limit_counts_disconnected_handlers() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, maximum) = (running.clone(), most.clone());
    let receiver = TestReceiver::with(
        |builder| builder.with_max_running_handlers(2),
        move |_| {
            let (running, most) = (counter.clone(), maximum.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_secs(1)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                OK
            }
        },
    );
    let events: Vec<_> = (0..10).map(|_| TestEvent::busy()).collect();
    let deliveries = join_all(events.iter().map(|event| receiver.deliver(event)));
    assert!(timeout(Duration::from_millis(100), deliveries).await.is_err());
    sleep(Duration::from_secs(6)).await;
    assert_eq!((receiver.runs(), most.load(Ordering::SeqCst)), (10, 2));
    for event in &events {
        assert_eq!(receiver.deliver(event).await.skipped, Some(Skipped::Duplicate));
    }
}

/// tower's limit inside the layer counts them too.
#[tokio::test(start_paused = true)]
async fn tower_limit_inside_counts_disconnected_handlers() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let runs = Arc::new(AtomicUsize::new(0));
    let (counter, maximum, all) = (running.clone(), most.clone(), runs.clone());
    let handler = service_fn(move |_: Request<WebhookBody>| {
        let (running, most) = (counter.clone(), maximum.clone());
        all.fetch_add(1, Ordering::SeqCst);
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }
    });
    let webhook = WebhookLayer::new(secret());
    let service = ServiceBuilder::new()
        .layer(webhook.clone())
        .layer(GlobalConcurrencyLimitLayer::new(2))
        .service(handler);
    let deliveries = (0..10).map(|_| {
        let request = TestEvent::busy().request::<Body>("/", &secret());
        service.clone().oneshot(request)
    });
    assert!(timeout(Duration::from_millis(100), join_all(deliveries)).await.is_err());
    sleep(Duration::from_secs(6)).await;
    assert_eq!((runs.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (10, 2));
}

/// An event above the limit waits for the duplicate wait. Then it is released and answered 503.
#[tokio::test(start_paused = true)]
async fn answers_503_above_running_limit() {
    let receiver = TestReceiver::with(
        |builder| builder.with_max_running_handlers(1),
        async |_| {
            sleep(Duration::from_secs(25)).await;
            OK
        },
    );
    let (running, event) = (TestEvent::busy(), TestEvent::busy());
    let start = Instant::now();
    let (first, (second, elapsed)) = tokio::join!(receiver.deliver(&running), async {
        sleep(Duration::from_secs(1)).await;
        (receiver.deliver(&event).await, start.elapsed())
    });
    assert_eq!(first.status, 200);
    assert_eq!(second.outcome(), (503, "overloaded".into()));
    assert_eq!((second.headers["retry-after"].as_bytes(), elapsed), (&b"5"[..], Duration::from_secs(11)));
    assert_eq!(receiver.deliver(&event).await.outcome(), (200, String::new()), "the redelivery runs");
}

/// 503 at once above 1 000 events that wait for a running handler.
#[tokio::test(start_paused = true)]
async fn limits_queue_of_waiting_events() {
    let receiver = TestReceiver::with(
        |builder| builder.with_max_running_handlers(1),
        async |_| {
            sleep(Duration::from_secs(300)).await;
            OK
        },
    );
    for _ in 0..1_200 {
        // The clients disconnect, so no limit outside the layer counts these deliveries.
        let _ = timeout(Duration::from_micros(10), receiver.deliver(&TestEvent::busy())).await;
    }
    eventually("199 events are released", || receiver.store.calls(Op::Release) == 199).await;
    assert_eq!((receiver.store.calls(Op::Claim), receiver.runs()), (1_200, 1));
}

/// A response future is dropped on a thread without a runtime. The handler runs on in the runtime that polled it first.
#[test]
fn handler_survives_drop_outside_runtime() {
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counter, opened) = (runs.clone(), gate.clone());
    let receiver = TestReceiver::with_handler(move |_| {
        let (counter, opened) = (counter.clone(), opened.clone());
        async move {
            opened.acquire().await?.forget();
            counter.fetch_add(1, Ordering::SeqCst);
            OK
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut delivery = Box::pin({
        let receiver = receiver.clone();
        async move { receiver.deliver(&TestEvent::busy()).await }
    });
    runtime.block_on(async {
        while receiver.runs() == 0 {
            assert!(futures_util::poll!(&mut delivery).is_pending());
            tokio::task::yield_now().await;
        }
    });
    drop(delivery);
    gate.add_permits(1);
    runtime.block_on(receiver.layer.drain());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(receiver.store.calls(Op::Complete), 1);
}

tokio::task_local! {
    static SET_BY_MIDDLEWARE: u32;
}

/// A handler has its own task, also while the client is connected, so a task-local of the caller is never visible.
#[tokio::test]
async fn handler_runs_in_its_own_task() {
    let receiver = TestReceiver::with_handler(async |_| {
        assert!(SET_BY_MIDDLEWARE.try_with(|_| ()).is_err());
        OK
    });
    let response = SET_BY_MIDDLEWARE.scope(1, receiver.deliver(&TestEvent::busy())).await;
    assert_eq!(response.status, 200);
}

/// The client disconnects after each possible number of polls.
#[tokio::test]
async fn disconnect_at_any_point_handles_once() {
    for polls in 0..40 {
        let receiver = TestReceiver::with_handler(async |_| {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            OK
        });
        let event = TestEvent::busy();
        {
            let mut delivery = Box::pin(receiver.deliver(&event));
            for _ in 0..polls {
                if futures_util::poll!(&mut delivery).is_ready() {
                    break;
                }
            }
        }
        receiver.layer.drain().await;
        let response = receiver.deliver(&event).await;
        assert_eq!((response.status.as_u16(), receiver.runs()), (200, 1), "disconnected after {polls} polls");
    }
}
