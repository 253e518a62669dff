//! A store that is down, slow or full when an event is claimed.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, header};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use roomz_webhook::store::{
    Claim, ClaimKey, ClaimRequest, IdempotencyStore, MokaStore, Owner, Settled, StoreError, async_trait,
};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, Skipped};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

use super::OK;
use crate::support::{Fault, Op, TestReceiver, eventually};

/// 503 with `Retry-After`, after at most the store timeout. The handler does not run.
#[tokio::test(start_paused = true)]
async fn fails_closed_when_claim_fails() {
    for (fault, duration) in [(Fault::Error, Duration::ZERO), (Fault::Hang, Duration::from_secs(2))] {
        let receiver = TestReceiver::new();
        receiver.store.inject(Op::Claim, fault, 1);
        let event = TestEvent::busy();
        let start = Instant::now();
        let response = receiver.deliver(&event).await;
        assert_eq!(response.outcome(), (503, "store-unavailable".into()));
        assert_eq!(response.headers[header::RETRY_AFTER], "5");
        assert_eq!(start.elapsed(), duration);
        assert_eq!(receiver.runs(), 0);
        assert_eq!(receiver.deliver(&event).await.status, 200, "the redelivery is handled");
    }
}

#[tokio::test(start_paused = true)]
async fn releases_claim_whose_reply_was_lost() {
    for fault in [Fault::AppliedThenError, Fault::AppliedThenHang] {
        let receiver = TestReceiver::new();
        receiver.store.inject(Op::Claim, fault, 1);
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await.status, 503);
        receiver.layer.drain().await;
        let start = Instant::now();
        assert_eq!(receiver.deliver(&event).await.status, 200);
        assert_eq!(start.elapsed(), Duration::ZERO, "the redelivery does not wait for the lease to end");
    }
}

#[tokio::test(start_paused = true)]
async fn releases_unconfirmed_claim_of_each_outage() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    for _ in 0..2 {
        receiver.store.inject(Op::Claim, Fault::AppliedThenError, 1);
        assert_eq!(receiver.deliver(&event).await.status, 503);
        receiver.layer.drain().await;
    }
    let start = Instant::now();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn releases_each_unconfirmed_claim() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    // The first claim is never applied. The layer still tries to release it when the second claim is applied.
    receiver.store.inject(Op::Claim, Fault::Error, 1);
    assert_eq!(receiver.deliver(&event).await.status, 503);
    receiver.store.inject(Op::Claim, Fault::AppliedThenError, 1);
    assert_eq!(receiver.deliver(&event).await.status, 503);
    let start = Instant::now();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(6), "waited {:?}, the lease is 60 s", start.elapsed());
}

/// The store applies the claim after it was released. It is released again, until three store timeouts after
/// the failure.
#[tokio::test(start_paused = true)]
async fn releases_claim_applied_late() {
    for seconds in [2.5, 3.0, 4.5, 5.5, 6.5, 7.5, 7.9] {
        let receiver = TestReceiver::new();
        let delay = Duration::from_secs_f64(seconds);
        receiver.store.inject(Op::Claim, Fault::AppliedLate(delay), 1);
        let (event, start) = (TestEvent::busy(), Instant::now());
        assert_eq!(receiver.deliver(&event).await.status, 503);
        sleep_until(start + delay + Duration::from_secs(1)).await;
        let start = Instant::now();
        assert_eq!(receiver.deliver(&event).await.status, 200);
        assert_eq!(start.elapsed(), Duration::ZERO, "the claim applied after {delay:?} is released");
    }
}

/// The handler runs once, and the completion is recorded when the store recovers.
#[tokio::test(start_paused = true)]
async fn fails_open_by_policy() {
    for fault in [Fault::Error, Fault::Hang, Fault::AppliedThenError, Fault::AppliedThenHang] {
        let receiver = TestReceiver::with(
            |builder| builder.with_fail_open(),
            async |delivery| {
                assert_eq!(delivery.attempt(), 1);
                OK
            },
        );
        receiver.store.inject(Op::Claim, fault, 1);
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await.status, 200);
        receiver.layer.drain().await;
        assert_eq!(receiver.runs(), 1);
        assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate), "{fault:?}");
        assert_eq!(receiver.runs(), 1);
    }
}

/// Two deliveries of one event fail open. The second one waits for a limit inside the layer while the first
/// one succeeds.
#[tokio::test(start_paused = true)]
async fn fail_open_duplicate_in_queue_does_not_run() {
    let receiver = TestReceiver::one_at_a_time(
        |builder| builder.with_fail_open(),
        async |_| {
            sleep(Duration::from_secs(5)).await;
            OK
        },
    );
    for op in [Op::Claim, Op::Complete] {
        receiver.store.inject(op, Fault::Error, usize::MAX);
    }
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        receiver.deliver(&event).await
    });
    assert_eq!((first.status.as_u16(), second.outcome()), (200, (503, "in-flight".into())));
    assert_eq!(receiver.runs(), 1);
}

/// A duplicate that waits knows that the event is claimed. It gets 503 under both policies.
#[tokio::test(start_paused = true)]
async fn outage_never_runs_waiting_duplicate() {
    for fails_open in [false, true] {
        let receiver = TestReceiver::with(
            |builder| if fails_open { builder.with_fail_open() } else { builder },
            async |_| {
                sleep(Duration::from_secs(9)).await;
                OK
            },
        );
        let event = TestEvent::busy();
        let (first, second) = tokio::join!(receiver.deliver(&event), async {
            sleep(Duration::from_secs(1)).await;
            let second = tokio::spawn({
                let (receiver, event) = (receiver.clone(), event.clone());
                async move { receiver.deliver(&event).await }
            });
            sleep(Duration::from_secs(1)).await;
            receiver.store.inject(Op::Claim, Fault::Error, 1);
            second.await.unwrap()
        });
        assert_eq!(first.status, 200);
        assert_eq!(second.outcome(), (503, "store-unavailable".into()), "{fails_open}");
        assert_eq!(receiver.runs(), 1, "{fails_open}");
    }
}

/// At most 1 000 claims of unknown outcome are released at once, of one event or of many.
#[tokio::test(start_paused = true)]
async fn outage_causes_bounded_releases() {
    let receiver = TestReceiver::new();
    for op in [Op::Claim, Op::Release] {
        receiver.store.inject(op, Fault::Error, usize::MAX);
    }
    let event = TestEvent::busy();
    for _ in 0..1_000 {
        assert_eq!(receiver.deliver(&event).await.status, 503);
    }
    receiver.layer.drain().await;
    let each = receiver.store.calls(Op::Release) / 1_000;
    assert!(each < 80, "{each} tries for each of 1 000 claims");
    for _ in 0..3_000 {
        assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 503);
    }
    let before = receiver.store.calls(Op::Release);
    receiver.layer.drain().await;
    let each = (receiver.store.calls(Op::Release) - before) / 1_000;
    assert!(each < 80, "{each} tries for each of 1000 claims");
}

/// Above the limit, the lease ends the claims. They are counted.
#[tokio::test(start_paused = true)]
async fn counts_abandoned_releases() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Claim, Fault::AppliedThenHang, usize::MAX);
    receiver.store.inject(Op::Release, Fault::Error, usize::MAX);
    join_all((0..1_500).map(|_| async { receiver.deliver(&TestEvent::busy()).await })).await;
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let abandoned =
        metrics.filter(|(key, ..)| key.key().name() == "roomz_webhook_settlements_abandoned_total");
    let values = abandoned.map(|(.., value)| value).filter(|value| *value != DebugValue::Counter(0));
    assert_eq!(values.collect::<Vec<_>>(), [DebugValue::Counter(500)]);
}

/// Fail open: the store writes claims without replying, and the handlers fail. All are released when the
/// store recovers.
#[tokio::test(start_paused = true)]
async fn fail_open_releases_failed_handlers() {
    let receiver = TestReceiver::with(
        |builder| {
            let builder = builder.with_fail_open();
            builder.with_duplicate_wait(Duration::ZERO)
        },
        async |_| Ok(StatusCode::INTERNAL_SERVER_ERROR),
    );
    receiver.store.inject(Op::Claim, Fault::AppliedThenHang, usize::MAX);
    let events: Vec<_> = (0..1_500).map(|_| TestEvent::busy()).collect();
    join_all(events.iter().map(|event| receiver.deliver(event))).await;
    receiver.store.clear_faults();
    sleep(Duration::from_secs(5)).await;
    let responses = join_all(events.iter().map(|event| receiver.deliver(event))).await;
    assert!(responses.iter().all(|response| response.status == 500), "each handler runs again");
}

/// 503 at the claim. At the completion, the response of the handler is sent.
#[tokio::test(start_paused = true)]
async fn store_panic_is_store_failure() {
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Claim, Fault::Panic, 1);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.outcome(), (503, "store-unavailable".into()));
    receiver.store.inject(Op::Complete, Fault::Panic, 2);
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(receiver.runs(), 1);
}

/// A store written by hand can panic before it returns a future.
#[derive(Debug)]
struct PanicsAtCall;

#[async_trait]
impl IdempotencyStore for PanicsAtCall {
    fn claim<'s, 'k, 'c, 'f>(
        &'s self,
        _: &'k ClaimKey,
        _: &'c ClaimRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Claim, StoreError>> + Send + 'f>>
    where
        's: 'f,
        'k: 'f,
        'c: 'f,
        Self: 'f,
    {
        panic!("before the future");
    }

    async fn renew(&self, _: &ClaimKey, _: Owner, _: Duration) -> Result<Settled, StoreError> {
        Err(StoreError::full())
    }

    async fn complete(&self, _: &ClaimKey, _: Owner, _: Duration) -> Result<Settled, StoreError> {
        Err(StoreError::full())
    }

    async fn release(&self, _: &ClaimKey, _: Owner) -> Result<Settled, StoreError> {
        Ok(Settled::Lost)
    }
}

#[tokio::test(start_paused = true)]
async fn store_panic_before_future_is_store_failure() {
    let receiver = TestReceiver::with(|builder| builder.with_store(PanicsAtCall), async |_| OK);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.outcome(), (503, "store-unavailable".into()));
}

/// A full store replied: without a claim, duplicates would run concurrently.
#[tokio::test(start_paused = true)]
async fn full_store_never_fails_open() {
    let receiver = TestReceiver::with(|builder| builder.with_fail_open(), async |_| OK);
    receiver.store.inject(Op::Claim, Fault::Full, 2);
    let event = TestEvent::busy();
    for _ in 0..2 {
        assert_eq!(receiver.deliver(&event).await.outcome(), (503, "store-unavailable".into()));
    }
    assert_eq!(receiver.runs(), 0);
    assert_eq!(receiver.deliver(&event).await.status, 200);
}

#[test]
fn store_error_says_what_happened() {
    for (error, message) in [
        (StoreError::unavailable("connection reset"), "the idempotency store is unavailable"),
        (StoreError::timed_out(), "the idempotency store did not reply in time"),
        (StoreError::full(), "the idempotency store has no room for another live claim"),
    ] {
        assert_eq!(error.to_string(), message);
    }
}

/// A new event gets 503 until a claim is settled.
#[tokio::test]
async fn full_store_keeps_live_claims() {
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = gate.clone();
    let handler = move |_: Delivery| {
        let gate = handler_gate.clone();
        async move {
            gate.acquire().await?.forget();
            OK
        }
    };
    let store = MokaStore::builder().with_max_in_flight(4).build();
    let receiver = TestReceiver::with(|builder| builder.with_store(store), handler);
    let events: Vec<_> = (0..4).map(|_| TestEvent::busy()).collect();
    let running: Vec<_> = events
        .iter()
        .map(|event| {
            let (receiver, event) = (receiver.clone(), event.clone());
            tokio::spawn(async move { receiver.deliver(&event).await })
        })
        .collect();
    eventually("four handlers run", || receiver.runs() == 4).await;
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.outcome(), (503, "store-unavailable".into()));
    gate.add_permits(100);
    for task in running {
        assert_eq!(task.await.unwrap().status, 200);
    }
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.status, 200);
    for event in &events {
        assert_eq!(receiver.deliver(event).await.skipped, Some(Skipped::Duplicate));
    }
}

#[tokio::test(start_paused = true)]
async fn never_releases_claim_after_full_store() {
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Claim, Fault::Full, 1);
    assert_eq!(receiver.deliver(&TestEvent::busy()).await.outcome(), (503, "store-unavailable".into()));
    receiver.layer.drain().await;
    assert_eq!(receiver.store.calls(Op::Release), 0);
}
