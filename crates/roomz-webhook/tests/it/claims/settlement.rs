//! A store that is down when a claim is completed or released.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, Skipped};
use tokio::time::{Instant, sleep};

use super::{LEASE, OK, scripted};
use crate::support::{Fault, Op, TestReceiver};

/// The sum of a counter over its labels.
fn count(snapshotter: &Snapshotter, name: &str) -> u64 {
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let values = metrics.filter(|(key, ..)| key.key().name() == name).map(|(.., value)| value);
    values.map(|value| if let DebugValue::Counter(count) = value { count } else { 0 }).sum()
}

/// The response of the handler is sent within the store timeout.
#[tokio::test(start_paused = true)]
async fn retries_completion_in_background() {
    for fault in [Fault::Error, Fault::Hang, Fault::AppliedThenError, Fault::AppliedThenHang] {
        let receiver = TestReceiver::new();
        receiver.store.inject(Op::Complete, fault, 4);
        let event = TestEvent::busy();
        let start = Instant::now();
        assert_eq!(receiver.deliver(&event).await.status, 200);
        assert!(start.elapsed() <= Duration::from_secs(2), "{fault:?}: {:?}", start.elapsed());
        receiver.layer.drain().await;
        assert!(receiver.store.calls(Op::Complete) >= 2);
        assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate), "{fault:?}");
        assert_eq!(receiver.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn retries_release_in_background() {
    let (attempts, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
    let receiver = TestReceiver::with(|builder| builder, handler);
    receiver.store.inject(Op::Release, Fault::Error, 3);
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 500);
    let start = Instant::now();
    assert_eq!(receiver.deliver(&event).await.status, 200, "the waiting redelivery runs after the release");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(*attempts.lock().unwrap(), [1, 2]);
}

/// Releases are retried until the lease ends, completions for at most ten leases. Then `drain` returns.
#[tokio::test(start_paused = true)]
async fn background_retries_give_up() {
    let receiver = TestReceiver::with_handler(async |_| Ok(StatusCode::INTERNAL_SERVER_ERROR));
    receiver.store.inject(Op::Release, Fault::Error, usize::MAX);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 500);
    let start = Instant::now();
    receiver.layer.drain().await;
    let retried_for = start.elapsed();
    assert!(
        (LEASE / 2..=LEASE).contains(&retried_for),
        "a release after the lease has no effect: {retried_for:?}"
    );

    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Complete, Fault::Error, usize::MAX);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    let start = Instant::now();
    receiver.layer.drain().await;
    assert!(start.elapsed() <= LEASE * 10, "{:?}", start.elapsed());
}

/// The store hangs for an hour, and every claim fails open. All settlements end at their own deadline.
#[tokio::test(start_paused = true)]
async fn settlements_end_at_deadline() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::with(|builder| builder.with_fail_open(), async |_| OK);
    for op in [Op::Claim, Op::Complete] {
        receiver.store.inject(op, Fault::Hang, usize::MAX);
    }
    let deliveries = (0..12_000).map(|_| async { receiver.deliver(&TestEvent::busy()).await.status });
    assert!(join_all(deliveries).await.iter().all(|status| *status == 200));
    let start = Instant::now();
    receiver.layer.drain().await;
    assert!(start.elapsed() <= LEASE * 10, "`drain` took {:?}", start.elapsed());
    assert_eq!(count(&snapshotter, "roomz_webhook_settlements_abandoned_total"), 12_000);
}

/// After an outage that is longer than a lease, a redelivery must not find the event free for long.
#[tokio::test(start_paused = true)]
async fn retries_within_one_second() {
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Complete, Fault::Error, usize::MAX);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    sleep(LEASE * 2).await;
    receiver.store.clear_faults();
    let start = Instant::now();
    receiver.layer.drain().await;
    assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
}

/// The store restarts without its data while a short handler runs.
#[tokio::test(start_paused = true)]
async fn completes_claim_that_store_lost() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        OK
    });
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(2)).await;
        receiver.store.lose_data();
    });
    assert_eq!(first.status, 200);
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(receiver.runs(), 1);
}

/// The store lost the claim, and the claim that the renewal sends again arrives after the handler failed.
#[tokio::test(start_paused = true)]
async fn releases_reclaim_applied_late() {
    let receiver = TestReceiver::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        async |delivery| {
            sleep(Duration::from_secs(21)).await;
            Ok(if delivery.attempt() == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
        },
    );
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(5)).await;
        receiver.store.lose_data();
        // Sent at the renewal after 20 s, applied after 21.5 s. The handler fails after 21 s.
        receiver.store.inject(Op::Claim, Fault::AppliedLate(Duration::from_millis(1_500)), 1);
    });
    assert_eq!(first.status, 500);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.deliver(&event).await.status, 200, "the late claim was released");
}

/// The ceiling ends the renewals, a redelivery takes over and fails. The first handler then succeeds.
#[tokio::test(start_paused = true)]
async fn completion_after_takeover_is_lost_not_restored() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::with(
        |builder| builder.with_lease_ceiling(LEASE).with_duplicate_wait(Duration::ZERO),
        async |delivery| {
            sleep(if delivery.attempt() == 1 { LEASE * 2 } else { Duration::ZERO }).await;
            Ok(if delivery.attempt() == 1 { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR })
        },
    );
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(LEASE + Duration::from_secs(2)).await;
        receiver.deliver(&event).await
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 500));
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate), "the success is recorded");
    assert_eq!(count(&snapshotter, "roomz_webhook_claims_lost_total"), 1);
    assert_eq!(count(&snapshotter, "roomz_webhook_claims_restored_total"), 0, "the store lost nothing");
}

/// Until the store recovers, this process recognises the duplicate.
#[tokio::test(start_paused = true)]
async fn fail_open_records_completion_later() {
    let receiver = TestReceiver::with(|builder| builder.with_fail_open(), async |_| OK);
    for op in [Op::Claim, Op::Complete] {
        receiver.store.inject(op, Fault::Error, 3);
    }
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.skipped, None);
    let during = receiver.deliver(&event).await;
    assert_eq!(during.skipped, Some(Skipped::Duplicate), "this process knows the event");
    receiver.layer.drain().await;
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate), "the store knows the event");
    assert_eq!(receiver.runs(), 1);
}

/// The store cannot record the completion before the lease ends. This process still knows it.
#[tokio::test(start_paused = true)]
async fn unrecorded_completion_is_duplicate_here() {
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Complete, Fault::Error, usize::MAX);
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    sleep(LEASE * 2).await;
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    receiver.store.inject(Op::Claim, Fault::Error, 1);
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate), "without the store");
    receiver.store.clear_faults();
    receiver.layer.drain().await;
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(receiver.runs(), 1);
}

/// After the retention, this process does not know the event either.
#[tokio::test(start_paused = true)]
async fn unrecorded_completion_expires() {
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Complete, Fault::Error, 3);
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    receiver.layer.drain().await;
    sleep(Duration::from_secs(8 * 24 * 60 * 60)).await;
    assert_eq!(receiver.deliver(&event).await.skipped, None, "the retention of seven days is over");
    assert_eq!(receiver.runs(), 2);
}

/// The store cannot record the completion. A waiting duplicate is notified when the handler returns.
#[tokio::test(start_paused = true)]
async fn notifies_waiter_before_store_recovers() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(3)).await;
        OK
    });
    receiver.store.inject(Op::Complete, Fault::Error, usize::MAX);
    let event = TestEvent::busy();
    let start = Instant::now();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        (receiver.deliver(&event).await, start.elapsed())
    });
    assert_eq!((first.status, first.skipped), (StatusCode::OK, None));
    assert_eq!(second.0.skipped, Some(Skipped::Duplicate));
    assert_eq!(second.1, Duration::from_secs(3), "when the handler returns");
}

/// The claim is applied after the handler failed. The redelivery is handled.
#[tokio::test(start_paused = true)]
async fn fail_open_releases_claim_applied_late() {
    let (_, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
    let receiver = TestReceiver::with(|builder| builder.with_fail_open(), handler);
    receiver.store.inject(Op::Claim, Fault::AppliedLate(Duration::from_secs(3)), 1);
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 500);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(receiver.deliver(&event).await.status, 200);
}

/// Another delivery claims the event during the outage, and its handler fails.
#[tokio::test(start_paused = true)]
async fn fail_open_completes_despite_failed_run() {
    let receiver = TestReceiver::with(|builder| builder.with_fail_open(), {
        let runs = Arc::new(AtomicUsize::new(0));
        move |_: Delivery| {
            let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                sleep(Duration::from_secs(if first { 2 } else { 4 })).await;
                Ok(if first { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR })
            }
        }
    });
    receiver.store.inject(Op::Claim, Fault::Error, 1);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        receiver.deliver(&event).await
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 500));
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    receiver.layer.drain().await;
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate), "the store knows the event");
    assert_eq!(receiver.runs(), 2);
}
