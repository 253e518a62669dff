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
use crate::support::{Op, TestReceiver, secret};

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

/// Before the delivery is verified, nothing goes on.
#[tokio::test(start_paused = true)]
async fn disconnect_before_verification_drops_body() {
    let (receiver, body_guard) = (TestReceiver::new(), Arc::new(()));
    let guard = body_guard.clone();
    let never = futures_util::stream::once(async move {
        let _guard = guard;
        std::future::pending::<Result<Bytes, BoxError>>().await
    });
    let request = TestEvent::busy().request::<Bytes>("/", &secret()).map(|_| Body::from_stream(never));
    assert!(timeout(Duration::from_secs(1), receiver.send(request)).await.is_err());
    receiver.layer.drain().await;
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&body_guard), 1);
}

/// tower's limit inside the layer counts handlers whose client disconnected. The others wait for their turn.
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

/// With `load_shed` between the layer and the limit, an event above the limit fails and is released.
#[tokio::test(start_paused = true)]
async fn load_shed_releases_event_above_limit() {
    let handler = service_fn(async |_: Request<WebhookBody>| {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    });
    let service = ServiceBuilder::new()
        .layer(WebhookLayer::new(secret()))
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .service(handler);
    let (first, second) = (TestEvent::busy(), TestEvent::busy());
    let deliver = |event: &TestEvent| service.clone().oneshot(event.request::<Body>("/", &secret()));
    let (running, shed) = tokio::join!(deliver(&first), deliver(&second));
    assert_eq!(running.unwrap().status(), 200);
    assert!(shed.unwrap_err().is::<tower::load_shed::error::Overloaded>());
    assert_eq!(deliver(&second).await.unwrap().status(), 200, "the redelivery runs");
}

/// A response future is dropped on a thread without a runtime. The handler runs on in the runtime that polled
/// it first.
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
