//! A handler that runs longer than its lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use roomz_webhook::store::{IdempotencyStore as _, MokaStore, Settled};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, Skipped, WebhookLayer};
use tokio::time::sleep;

use super::{LEASE, OK, other_process};
use crate::support::{Fault, FaultyStore, Op, TestReceiver, TokioClock, eventually, secret};

#[tokio::test(start_paused = true)]
async fn renews_lease_of_long_handler() {
    let receiver = TestReceiver::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        async |_| {
            sleep(LEASE * 5).await;
            OK
        },
    );
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(receiver.deliver(&event), async {
        for _ in 0..9 {
            sleep(LEASE / 2).await;
            assert_eq!(receiver.deliver(&event).await.outcome(), (503, "in-flight".into()));
        }
    });
    assert_eq!(first.status, 200);
    assert_eq!(receiver.runs(), 1);
    assert!(receiver.store.calls(Op::Renew) >= 14, "{} renewals", receiver.store.calls(Op::Renew));
}

/// After a second, or a tenth of a short lease.
#[tokio::test(start_paused = true)]
async fn retries_failed_renewal() {
    let second = Duration::from_secs(1);
    for (lease, fault, failures, renewals) in [(LEASE, Fault::Hang, 1, 5), (second * 3, Fault::Error, 3, 6)] {
        let receiver = TestReceiver::with(
            |builder| {
                builder.with_duplicate_wait(Duration::ZERO).with_store_timeout(lease / 30).with_lease(lease)
            },
            move |_| async move {
                sleep(lease * 3 / 2).await;
                OK
            },
        );
        receiver.store.inject(Op::Renew, fault, failures);
        let event = TestEvent::busy();
        let (first, second) = tokio::join!(receiver.deliver(&event), async {
            sleep(lease + lease / 4).await;
            receiver.deliver(&event).await
        });
        assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 503));
        assert_eq!((receiver.runs(), receiver.store.calls(Op::Renew)), (1, renewals), "{lease:?}, {fault:?}");
    }
}

/// The store restarts without its data. The owner claims the event again at its next renewal.
#[tokio::test(start_paused = true)]
async fn reclaims_claim_that_store_lost() {
    let receiver = TestReceiver::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        async |_| {
            sleep(LEASE * 3).await;
            OK
        },
    );
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(receiver.deliver(&event), async {
        sleep(LEASE / 6).await;
        receiver.store.lose_data();
        for _ in 0..4 {
            sleep(LEASE / 2).await;
            assert_eq!(receiver.deliver(&event).await.outcome(), (503, "in-flight".into()));
        }
    });
    assert_eq!(first.status, 200);
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(receiver.runs(), 1);
}

/// An event waits for a limit inside the layer. The store loses its claim, and another process handles the
/// event.
#[tokio::test(start_paused = true)]
async fn lost_claim_stops_waiting_handler() {
    let receiver = TestReceiver::one_at_a_time(
        |builder| builder,
        async |_| {
            sleep(LEASE / 2).await;
            OK
        },
    );
    let other_process = other_process(&receiver, Duration::ZERO);
    let (running, waiting) = (TestEvent::busy(), TestEvent::busy());
    let (first, second, ()) = tokio::join!(
        receiver.deliver(&running),
        async {
            sleep(Duration::from_secs(1)).await;
            receiver.deliver(&waiting).await
        },
        async {
            sleep(Duration::from_secs(5)).await;
            receiver.store.lose_data();
            assert_eq!(other_process.deliver(&waiting).await.outcome(), (200, String::new()));
        },
    );
    assert_eq!((first.status.as_u16(), second.outcome()), (200, (503, "in-flight".into())));
    assert_eq!(receiver.runs(), 1);
    assert_eq!(receiver.deliver(&waiting).await.skipped, Some(Skipped::Duplicate));
}

/// The handler blocks its thread for three quarters of the lease. The claim is renewed as soon as the thread
/// is free.
#[tokio::test(start_paused = true)]
async fn renewal_timer_starts_at_claim() {
    let receiver = TestReceiver::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        async |_| {
            // The first poll moves the clock, and the handler does not yield meanwhile.
            let _ = futures_util::poll!(Box::pin(tokio::time::advance(LEASE * 3 / 4)));
            sleep(LEASE / 2).await;
            OK
        },
    );
    let event = TestEvent::busy();
    let past_first_lease = sleep(LEASE + Duration::from_secs(1));
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        past_first_lease.await;
        receiver.deliver(&event).await
    });
    assert_eq!((first.status.as_u16(), second.outcome()), (200, (503, "in-flight".into())));
    assert_eq!(receiver.runs(), 1);
}

/// The first handler loses its claim, but its response is sent. The same if the store lost the claim, and the
/// last renewal claimed the event again.
#[tokio::test(start_paused = true)]
async fn takes_over_above_lease_ceiling() {
    for store_loses_claim in [false, true] {
        let receiver = TestReceiver::with(
            |builder| builder.with_lease_ceiling(LEASE * 3).with_duplicate_wait(Duration::ZERO),
            async |delivery| {
                sleep(if delivery.attempt() == 1 { LEASE * 5 } else { LEASE * 3 / 2 }).await;
                Ok(if delivery.attempt() == 1 { StatusCode::OK } else { StatusCode::CREATED })
            },
        );
        let event = TestEvent::busy();
        let (first, ()) = tokio::join!(receiver.deliver(&event), async {
            sleep(LEASE * 5 / 2).await;
            if store_loses_claim {
                receiver.store.lose_data();
            }
            sleep(LEASE / 2 - Duration::from_secs(1)).await;
            assert_eq!(receiver.deliver(&event).await.status, 503, "the lease is renewed up to the ceiling");
            sleep(Duration::from_secs(2)).await;
            assert_eq!(receiver.deliver(&event).await.status, 201, "the next delivery is attempt 2");
        });
        assert_eq!(first.status, 200, "the response of the first handler");
        assert_eq!(receiver.runs(), 2);
        assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    }
}

/// The handler completes the event itself, as in a transaction of its own, and runs for several leases more.
#[tokio::test(start_paused = true)]
async fn completed_handler_needs_no_lease() {
    for status in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
        let store = FaultyStore::new(MokaStore::builder().with_clock(TokioClock::new()).build());
        let layer = WebhookLayer::builder(secret()).with_store(store.clone()).build().unwrap();
        let of_handler = store.clone();
        let receiver = TestReceiver::with_layer(layer, store, move |delivery: Delivery| {
            let store = of_handler.clone();
            async move {
                let (key, owner, retention) = (delivery.claim_key(), delivery.owner(), delivery.retention());
                let settled = store.complete(key, owner, retention).await?;
                assert_eq!(settled, Settled::Applied);
                sleep(LEASE * 5).await;
                Ok(status)
            }
        });
        let event = TestEvent::busy();
        let (first, ()) = tokio::join!(receiver.deliver(&event), async {
            for _ in 0..9 {
                sleep(LEASE / 2).await;
                assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
            }
        });
        assert_eq!(first.status, status);
        assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
        assert_eq!((receiver.runs(), receiver.store.calls(Op::Renew)), (1, 1));
    }
}

/// The handler uses its whole task budget in each poll. Without budget, a timer is never registered.
#[tokio::test(start_paused = true)]
async fn busy_handler_cannot_starve_renewal() {
    let finish = Arc::new(AtomicBool::new(false));
    let flag = finish.clone();
    let receiver = TestReceiver::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        move |delivery: Delivery| {
            let flag = flag.clone();
            async move {
                while delivery.attempt() == 1 && !flag.load(Ordering::SeqCst) {
                    tokio::task::consume_budget().await;
                }
                OK
            }
        },
    );
    let event = TestEvent::busy();
    let first = tokio::spawn({
        let (receiver, event) = (receiver.clone(), event.clone());
        async move { receiver.deliver(&event).await }
    });
    eventually("the handler runs", || receiver.runs() == 1).await;
    for _ in 0..90 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(receiver.deliver(&event).await.status, 503, "after the first lease ended");
    assert!(receiver.store.calls(Op::Renew) >= 3, "{} renewals", receiver.store.calls(Op::Renew));
    finish.store(true, Ordering::SeqCst);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(receiver.runs(), 1);
}
