//! A store that is down when a claim is completed or released.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, IdReusePolicy, Skipped, WebhookLayerBuilder};
use tokio::time::{Instant, sleep};

use super::{LEASE, OK, other_process, scripted};
use crate::support::{Fault, Op, TestReceiver};

/// How many claims were lost, how many were restored, and how many settlements were abandoned, since the last
/// call: a snapshot resets the counters.
fn counts(recorder: &DebuggingRecorder) -> [u64; 3] {
    let metrics = recorder.snapshotter().snapshot().into_vec();
    ["claims_lost_total", "claims_restored_total", "settlements_abandoned_total"].map(|name| {
        let values = metrics.iter().filter(|(key, ..)| key.key().name() == format!("roomz_webhook_{name}"));
        values.map(|(.., value)| if let DebugValue::Counter(count) = value { *count } else { 0 }).sum()
    })
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
    assert_eq!(counts(&recorder), [0, 0, 12_000]);
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
    for policy in [IdReusePolicy::Acknowledge, IdReusePolicy::Reject] {
        let recorder = DebuggingRecorder::new();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let receiver = TestReceiver::with(
            |builder| builder.with_id_reuse_policy(policy),
            async |_| {
                sleep(Duration::from_secs(5)).await;
                OK
            },
        );
        let event = TestEvent::busy();
        let (first, ()) = tokio::join!(receiver.deliver(&event), async {
            sleep(Duration::from_secs(2)).await;
            receiver.store.lose_data();
        });
        assert_eq!(first.status, 200);
        assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
        assert_eq!(receiver.runs(), 1);
        assert_eq!(counts(&recorder), [0, 1, 0]);
    }
}

/// The completion fails until the lease is over and another process handles the event.
#[tokio::test(start_paused = true)]
async fn completion_after_lease_is_lost_at_once() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::new();
    let other_process = other_process(&receiver, LEASE * 2);
    receiver.store.inject(Op::Complete, Fault::Error, usize::MAX);
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    sleep(LEASE + Duration::from_secs(1)).await;
    let (other, ()) = tokio::join!(other_process.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        receiver.store.clear_faults();
        let start = Instant::now();
        receiver.layer.drain().await;
        assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
    });
    assert_eq!(other.outcome(), (200, String::new()));
    assert_eq!(counts(&recorder), [1, 0, 0]);
}

/// The layer failed open while another process holds the claim for longer than completions are retried.
#[tokio::test(start_paused = true)]
async fn fail_open_completion_of_other_claim_is_lost() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver =
        TestReceiver::with(|builder| builder.with_fail_open().with_lease_ceiling(LEASE), async |_| OK);
    let other_process = other_process(&receiver, LEASE * 3);
    let event = TestEvent::busy();
    let (other, ()) = tokio::join!(other_process.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        receiver.store.inject(Op::Claim, Fault::Error, 1);
        assert_eq!(receiver.deliver(&event).await.outcome(), (200, String::new()));
        receiver.layer.drain().await;
        assert_eq!(counts(&recorder), [1, 0, 0]);
    });
    assert_eq!(other.outcome(), (200, String::new()));
}

/// The store has no such claim, and hangs at the deadline of the release.
#[tokio::test(start_paused = true)]
async fn abandoned_release_loses_no_claim() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (_, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
    let settings = |builder: WebhookLayerBuilder| builder.with_fail_open().with_lease(Duration::from_secs(6));
    let receiver = TestReceiver::with(settings, handler);
    receiver.store.inject(Op::Claim, Fault::Error, 1);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 500);
    sleep(Duration::from_secs(5)).await;
    receiver.store.inject(Op::Release, Fault::Hang, usize::MAX);
    receiver.layer.drain().await;
    assert_eq!(counts(&recorder), [0, 0, 1]);
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
    assert_eq!(counts(&recorder), [1, 0, 0], "the store lost nothing");
}

/// Until the store recovers, this process recognises the duplicate.
#[tokio::test(start_paused = true)]
async fn fail_open_records_completion_later() {
    // Before and after the first renewal, which claims the event.
    for time in [Duration::ZERO, LEASE / 2] {
        let recorder = DebuggingRecorder::new();
        let _guard = metrics::set_default_local_recorder(&recorder);
        let receiver = TestReceiver::with(
            |builder| builder.with_fail_open(),
            move |_| async move {
                sleep(time).await;
                OK
            },
        );
        for op in [Op::Claim, Op::Complete] {
            receiver.store.inject(op, Fault::Error, 3);
        }
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await.skipped, None);
        let during = receiver.deliver(&event).await;
        assert_eq!(during.skipped, Some(Skipped::Duplicate), "this process knows the event");
        receiver.layer.drain().await;
        let after = receiver.deliver(&event).await;
        assert_eq!(after.skipped, Some(Skipped::Duplicate), "the store knows the event");
        assert_eq!(receiver.runs(), 1);
        assert_eq!(counts(&recorder), [0, 0, 0], "the store never had the claim");
    }
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
