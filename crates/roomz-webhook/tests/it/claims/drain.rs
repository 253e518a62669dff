//! `drain` while deliveries wait or arrive.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{WebhookBody, WebhookLayer};
use tokio::time::{Instant, sleep};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use super::OK;
use crate::support::{Fault, Op, TestReceiver, secret};

/// The first delivery fails, so a waiting duplicate would run its handler.
#[tokio::test(start_paused = true)]
async fn drain_rejects_waiting_duplicates() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        Ok(StatusCode::INTERNAL_SERVER_ERROR)
    });
    let event = TestEvent::busy();
    let start = Instant::now();
    let (first, waiting, new, drained) = tokio::join!(
        receiver.deliver(&event),
        async {
            sleep(Duration::from_secs(1)).await;
            (receiver.deliver(&event).await, start.elapsed())
        },
        async {
            sleep(Duration::from_secs(3)).await;
            receiver.deliver(&TestEvent::busy()).await
        },
        async {
            sleep(Duration::from_secs(2)).await;
            receiver.layer.drain().await;
            start.elapsed()
        },
    );
    assert_eq!(first.status, 500);
    assert_eq!(waiting.0.outcome(), (503, "shutting-down".into()));
    assert_eq!(waiting.0.headers[header::RETRY_AFTER], "5");
    assert_eq!(waiting.1, Duration::from_secs(2), "when `drain` starts");
    assert_eq!(new.outcome(), (503, "shutting-down".into()));
    assert_eq!(drained, Duration::from_secs(5), "when the handler returns");
    assert_eq!(receiver.runs(), 1);
    assert_eq!(receiver.deliver(&event).await.status, 500, "the layer accepts deliveries again");
}

/// Deliveries that wait in the inner service until it is ready do not start either.
#[tokio::test(start_paused = true)]
async fn drain_starts_no_handler_behind_inner_limit() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = runs.clone();
    let handler = service_fn(move |_: Request<WebhookBody>| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(Duration::from_secs(5)).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let webhook = WebhookLayer::new(secret());
    let limit = GlobalConcurrencyLimitLayer::new(1);
    let service = ServiceBuilder::new().layer(webhook.clone()).layer(limit).service(handler);
    let deliveries = (0..4).map(|_| {
        let request = TestEvent::busy().request::<Body>("/", &secret());
        service.clone().oneshot(request)
    });
    let start = Instant::now();
    let (responses, ()) = tokio::join!(join_all(deliveries), async {
        sleep(Duration::from_secs(1)).await;
        webhook.drain().await;
    });
    let statuses: Vec<_> =
        responses.into_iter().map(|response| response.unwrap().status().as_u16()).collect();
    assert_eq!(statuses, [200, 503, 503, 503]);
    assert_eq!((runs.load(Ordering::SeqCst), start.elapsed()), (1, Duration::from_secs(5)));
}

/// A waiting duplicate is calling the store, which hangs.
#[tokio::test(start_paused = true)]
async fn drain_interrupts_store_call_of_waiter() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        OK
    });
    let event = TestEvent::busy();
    let start = Instant::now();
    let (first, second, ()) = tokio::join!(
        receiver.deliver(&event),
        async {
            sleep(Duration::from_secs(1)).await;
            (receiver.deliver(&event).await, start.elapsed())
        },
        async {
            sleep(Duration::from_millis(1_500)).await;
            receiver.store.inject(Op::Claim, Fault::Hang, usize::MAX);
            sleep(Duration::from_secs(1)).await;
            receiver.layer.drain().await;
        },
    );
    assert_eq!((first.status.as_u16(), second.0.outcome()), (200, (503, "shutting-down".into())));
    assert_eq!(second.1, Duration::from_millis(2_500), "when `drain` starts");
}

/// After `drain`, or after its future is dropped, deliveries are accepted again.
#[tokio::test(start_paused = true)]
async fn accepts_deliveries_after_drain() {
    let receiver = TestReceiver::new();
    receiver.layer.drain().await;
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    receiver.store.inject(Op::Complete, Fault::Error, usize::MAX);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    let drain = tokio::time::timeout(Duration::from_secs(1), receiver.layer.drain());
    assert!(drain.await.is_err(), "the completion is retried for ten minutes");
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
}
