//! `drain` while deliveries wait or arrive.

use std::time::Duration;

use http::{StatusCode, header};
use roomz_webhook::testing::TestEvent;
use tokio::time::{Instant, sleep};

use super::OK;
use crate::support::{Op, TestReceiver};

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

/// A delivery that waits for a running handler to end, because of the limit, does not start when that handler ends.
#[tokio::test(start_paused = true)]
async fn drain_starts_no_handler() {
    let receiver = TestReceiver::with(
        |builder| builder.with_max_running_handlers(1),
        async |_| {
            sleep(Duration::from_secs(5)).await;
            OK
        },
    );
    let (running, queued) = (TestEvent::busy(), TestEvent::busy());
    let start = Instant::now();
    let (first, second, ()) = tokio::join!(
        receiver.deliver(&running),
        async {
            sleep(Duration::from_secs(1)).await;
            (receiver.deliver(&queued).await, start.elapsed())
        },
        async {
            sleep(Duration::from_secs(2)).await;
            receiver.layer.drain().await;
        },
    );
    assert_eq!(first.status, 200);
    assert_eq!(second.0.outcome(), (503, "shutting-down".into()));
    assert_eq!(second.1, Duration::from_secs(2), "when `drain` starts");
    assert_eq!((receiver.runs(), receiver.store.calls(Op::Release)), (1, 1), "the queued event is released");
}

/// After `drain`, or after its future is dropped, deliveries are accepted again.
#[tokio::test(start_paused = true)]
async fn accepts_deliveries_after_drain() {
    let receiver = TestReceiver::new();
    receiver.layer.drain().await;
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    receiver.store.inject(Op::Complete, crate::support::Fault::Error, usize::MAX);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    let drain = tokio::time::timeout(Duration::from_secs(1), receiver.layer.drain());
    assert!(drain.await.is_err(), "the completion is retried for ten minutes");
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
}
