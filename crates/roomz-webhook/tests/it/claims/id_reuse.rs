//! Two bodies with the same id, under each policy.

use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, IdReusePolicy, Skipped, WebhookLayerBuilder};
use tokio::time::sleep;

use super::{OK, scripted};
use crate::support::{Fault, Op, TestReceiver};

#[tokio::test]
async fn acknowledges_reused_id_by_default() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.status, 200);
    assert_eq!(receiver.deliver(&event.with("note", 1)).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(receiver.runs(), 1);
}

#[tokio::test]
async fn processes_reused_id_by_policy() {
    let receiver =
        TestReceiver::with(|builder| builder.with_id_reuse_policy(IdReusePolicy::Process), async |_| OK);
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    for skipped in [None, Some(Skipped::Duplicate)] {
        assert_eq!(receiver.deliver(&event).await.skipped, skipped);
        assert_eq!(receiver.deliver(&other).await.skipped, skipped, "deduplicated separately");
    }
    assert_eq!(receiver.runs(), 2);
}

/// The record of the first body expires while the second body is remembered.
#[tokio::test(start_paused = true)]
async fn other_body_runs_once_while_remembered() {
    let receiver =
        TestReceiver::with(|builder| builder.with_id_reuse_policy(IdReusePolicy::Process), async |_| OK);
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(receiver.deliver(&event).await.skipped, None);
    sleep(day * 3).await;
    assert_eq!(receiver.deliver(&other).await.skipped, None);
    sleep(day * 5).await;
    assert_eq!(receiver.deliver(&other).await.skipped, Some(Skipped::Duplicate), "for two more days");
    assert_eq!(receiver.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn rejects_reused_id_by_policy() {
    let receiver = TestReceiver::with(
        |builder| builder.with_id_reuse_policy(IdReusePolicy::Reject),
        async |delivery| {
            sleep(Duration::from_secs(1)).await;
            Ok(if delivery.attempt() == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
        },
    );
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    let (first, concurrent) = tokio::join!(receiver.deliver(&event), receiver.deliver(&other));
    assert_eq!(first.status, 500);
    assert_eq!(concurrent.outcome(), (409, "id-reused".into()), "while the event runs");
    assert_eq!(receiver.deliver(&other).await.outcome(), (409, "id-reused".into()), "after the release");
    assert_eq!(receiver.deliver(&event).await.status, 200, "the retry with the first body is claimed");
    assert_eq!(receiver.deliver(&other).await.outcome(), (409, "id-reused".into()), "after the completion");
    assert_eq!(receiver.runs(), 2);
}

/// Another body arrives between the failed attempt and the retry. Each accepted body takes effect once.
#[tokio::test]
async fn retry_survives_reused_id_in_between() {
    for policy in [IdReusePolicy::Process, IdReusePolicy::Reject] {
        let effects = Arc::new(Mutex::new(Vec::new()));
        let recorded = effects.clone();
        let runs = Arc::new(AtomicUsize::new(0));
        let receiver = TestReceiver::with(
            |builder| builder.with_id_reuse_policy(policy),
            move |delivery: Delivery| {
                let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
                if !first {
                    recorded.lock().unwrap().push(delivery.body().len());
                }
                let status = if first { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
                ready(Ok(status))
            },
        );
        let event = TestEvent::busy();
        let other = event.clone().with("note", 1);
        assert_eq!(receiver.deliver(&event).await.status, 500);
        for _ in 0..2 {
            let expected = if policy == IdReusePolicy::Process { 200 } else { 409 };
            assert_eq!(receiver.deliver(&other).await.status, expected, "{policy:?}");
        }
        for _ in 0..2 {
            assert_eq!(receiver.deliver(&event).await.status, 200, "{policy:?}");
        }
        let mut effects = effects.lock().unwrap().clone();
        effects.sort_unstable();
        let mut expected = vec![event.body().len()];
        if policy == IdReusePolicy::Process {
            expected.push(other.body().len());
        }
        assert_eq!(effects, expected, "{policy:?}");
    }
}

/// The store loses the claim of the first body, and the second body claims the id and fails. The first body
/// must not complete the record of the second, even if the store fails meanwhile.
#[tokio::test(start_paused = true)]
async fn reclaim_never_completes_other_body() {
    let runs = Arc::new(AtomicUsize::new(0));
    let succeeded = Arc::new(Mutex::new(Vec::new()));
    let recorded = succeeded.clone();
    let receiver = TestReceiver::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO).with_id_reuse_policy(IdReusePolicy::Reject),
        move |delivery: Delivery| {
            let (run, recorded) = (runs.fetch_add(1, Ordering::SeqCst), recorded.clone());
            async move {
                match run {
                    0 => sleep(Duration::from_secs(60)).await,
                    1 => return Ok(StatusCode::INTERNAL_SERVER_ERROR),
                    _ => {}
                }
                recorded.lock().unwrap().push(delivery.body().clone());
                OK
            }
        },
    );
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(5)).await;
        receiver.store.lose_data();
        let second = receiver.deliver(&other).await;
        receiver.store.inject(Op::Release, Fault::Error, 1);
        second
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 500));
    receiver.layer.drain().await;
    assert_eq!(receiver.deliver(&other).await.outcome(), (200, String::new()), "the second body is handled");
    assert_eq!(*succeeded.lock().unwrap(), [event.body(), other.body()]);
}

/// The store has not recorded the completion yet. The process still compares the body of a duplicate.
#[tokio::test(start_paused = true)]
async fn unrecorded_completion_keeps_fingerprint() {
    for policy in [IdReusePolicy::Acknowledge, IdReusePolicy::Process, IdReusePolicy::Reject] {
        let receiver = TestReceiver::with(|builder| builder.with_id_reuse_policy(policy), async |_| OK);
        receiver.store.inject(Op::Complete, Fault::Error, 3);
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await.status, 200);
        let other = receiver.deliver(&event.clone().with("note", 1)).await;
        let expected = match policy {
            IdReusePolicy::Process => (200, None, 2),
            IdReusePolicy::Reject => (409, None, 1),
            _ => (200, Some(Skipped::Duplicate), 1),
        };
        assert_eq!((other.status.as_u16(), other.skipped, receiver.runs()), expected, "{policy:?}");
    }
}

/// An event with a reused id is handled during an outage. It must not complete the released event.
#[tokio::test(start_paused = true)]
async fn fail_open_does_not_complete_other_body() {
    for policy in [IdReusePolicy::Process, IdReusePolicy::Reject] {
        let (_, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
        let settings =
            move |builder: WebhookLayerBuilder| builder.with_fail_open().with_id_reuse_policy(policy);
        let receiver = TestReceiver::with(settings, handler);
        let event = TestEvent::busy();
        assert_eq!(receiver.deliver(&event).await.status, 500);
        receiver.store.inject(Op::Claim, Fault::Error, 1);
        assert_eq!(receiver.deliver(&event.clone().with("note", 1)).await.status, 200);
        receiver.layer.drain().await;
        let redelivered = receiver.deliver(&event).await;
        assert_eq!(
            (redelivered.status, redelivered.skipped),
            (StatusCode::OK, None),
            "{policy:?}: handled, not a duplicate"
        );
    }
}
