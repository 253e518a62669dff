//! A client that disconnects before the response.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roomz_webhook::Skipped;
use roomz_webhook::testing::TestEvent;
use tokio::time::{Instant, sleep, timeout};

use super::OK;
use crate::support::{Op, TestReceiver};

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
