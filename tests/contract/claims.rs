//! Section 2: the claim, one test a situation.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http::{StatusCode, header};
use roomz_tests::{Fault, Op, Rig, until};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, IdReusePolicy, Skipped, StoreFailurePolicy};
use tokio::sync::{Barrier, Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceExt as _};

const OK: Result<StatusCode, BoxError> = Ok(StatusCode::OK);
const LEASE: Duration = Duration::from_secs(60);

/// A handler that collects attempts and says what it is told to, in turn.
fn scripted(
    script: impl IntoIterator<Item = StatusCode>,
) -> (Arc<Mutex<Vec<u32>>>, impl Fn(Delivery) -> Answering + Clone + Send + Sync) {
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let script = Arc::new(Mutex::new(script.into_iter().collect::<std::collections::VecDeque<_>>()));
    let seen = Arc::clone(&attempts);
    let handler = move |delivery: Delivery| {
        seen.lock().unwrap().push(delivery.attempt());
        let status = script.lock().unwrap().pop_front().unwrap_or(StatusCode::OK);
        std::future::ready(Ok(status))
    };
    (attempts, handler)
}
type Answering = std::future::Ready<Result<StatusCode, BoxError>>;

#[tokio::test]
async fn a_first_delivery_answered_2xx_is_completed_and_then_answered() {
    let rig = Rig::handling(async |_| Ok(StatusCode::CREATED));
    let answer = rig.deliver(&TestEvent::busy()).await;
    assert_eq!((answer.status, answer.skipped), (StatusCode::CREATED, None));
    assert_eq!((rig.store.calls(Op::Claim), rig.store.calls(Op::Complete)), (1, 1));
    assert_eq!((rig.store.calls(Op::Release), rig.store.calls(Op::Renew)), (0, 0));
}

#[tokio::test]
async fn a_duplicate_of_a_finished_event_is_200_marked_and_not_run() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.skipped, None);
    for _ in 0..3 {
        let answer = rig.deliver(&event).await;
        assert_eq!((answer.status, answer.skipped), (StatusCode::OK, Some(Skipped::Duplicate)));
        assert_eq!(answer.headers[Skipped::HEADER], "duplicate");
        assert_eq!(answer.text, r#"{"skipped":"duplicate"}"#);
    }
    assert_eq!(rig.runs(), 1);
}

#[tokio::test]
async fn the_same_id_in_another_spelling_is_the_same_event() {
    let rig = Rig::new();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    let plain = id.replace('-', "");
    for spelling in [id, &id.to_uppercase(), &plain, &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
        assert_eq!(rig.deliver(&TestEvent::busy().with("id", spelling)).await.status, 200, "{spelling}");
    }
    assert_eq!(rig.runs(), 1);
}

#[tokio::test]
async fn a_handler_that_answers_anything_but_2xx_runs_again_and_is_told_its_attempt() {
    let script = [StatusCode::BAD_REQUEST, StatusCode::FOUND, StatusCode::INTERNAL_SERVER_ERROR];
    let (attempts, handler) = scripted(script);
    let rig = Rig::with(|builder| builder, handler);
    let event = TestEvent::busy();
    for status in [400, 302, 500, 200] {
        assert_eq!(rig.deliver(&event).await.status.as_u16(), status, "its own answer");
    }
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3, 4]);
    assert_eq!(rig.store.calls(Op::Release), 3);
}

#[tokio::test]
async fn a_service_that_fails_gives_the_event_back_and_its_error_passes() {
    let rig =
        Rig::handling(
            async |delivery| {
                if delivery.attempt() == 1 { Err(BoxError::from("the database is gone")) } else { OK }
            },
        );
    let event = TestEvent::busy();
    let request = || event.request::<Body>("/", &roomz_tests::secret());
    assert_eq!(rig.try_send(request()).await.unwrap_err().to_string(), "the database is gone");
    assert_eq!(rig.send(request()).await.status, 200);
}

#[tokio::test]
async fn a_handler_that_panics_is_500_and_runs_again() {
    let rig = Rig::handling(async |delivery| {
        assert!(delivery.attempt() > 1, "on purpose");
        OK
    });
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.short(), (500, "handler-panicked".into()));
    assert_eq!(rig.deliver(&event).await.status, 200);
    assert_eq!(rig.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_while_the_first_one_runs_waits_and_is_answered_as_it_did() {
    let rig = Rig::handling(async |_| {
        sleep(Duration::from_secs(9)).await;
        OK
    });
    let event = TestEvent::busy();
    let start = Instant::now();
    let (first, second) = tokio::join!(rig.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        (rig.deliver(&event).await, start.elapsed())
    });
    assert_eq!((first.status, first.skipped), (StatusCode::OK, None));
    assert_eq!((second.0.status, second.0.skipped), (StatusCode::OK, Some(Skipped::Duplicate)));
    assert_eq!(second.1, Duration::from_secs(9), "at the moment the first one is done");
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waited_ten_seconds_is_503_with_retry_after() {
    let rig = Rig::handling(async |_| {
        sleep(Duration::from_secs(30)).await;
        OK
    });
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(rig.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        (rig.deliver(&event).await, start.elapsed())
    });
    assert_eq!(first.status, 200);
    assert_eq!(second.0.short(), (503, "in-flight".into()));
    assert_eq!(second.0.headers[header::RETRY_AFTER], "5");
    assert_eq!(second.1, Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn when_the_first_one_fails_while_duplicates_wait_one_of_them_runs() {
    let failed = Arc::new(AtomicUsize::new(0));
    let seen = failed.clone();
    let rig = Rig::handling(move |delivery: Delivery| {
        let seen = seen.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            if delivery.attempt() < 3 {
                seen.fetch_add(1, Ordering::SeqCst);
                return Ok(StatusCode::INTERNAL_SERVER_ERROR);
            }
            OK
        }
    });
    let event = TestEvent::busy();
    let start = Instant::now();
    let answers = futures_util::future::join_all((0..20).map(|_| rig.deliver(&event))).await;
    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(500), count(200)), (2, 18), "two failed, one ran, and the others waited for it");
    assert_eq!(answers.iter().filter(|answer| answer.skipped.is_some()).count(), 17);
    assert_eq!((rig.runs(), failed.load(Ordering::SeqCst)), (3, 2));
    assert_eq!(start.elapsed(), Duration::from_secs(3), "nobody slept through the bell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_concurrent_duplicates_run_once_in_a_thousand_rounds() {
    for _ in 0..1_000 {
        let rig = Rig::handling(async |_| {
            tokio::task::yield_now().await;
            OK
        });
        let event = TestEvent::busy();
        let barrier = Arc::new(Barrier::new(64));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (rig, event, barrier) = (rig.clone(), event.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    rig.deliver(&event).await
                })
            })
            .collect();
        let mut skipped = 0;
        for task in tasks {
            let answer = task.await.unwrap();
            assert_eq!(answer.status, 200);
            skipped += usize::from(answer.skipped == Some(Skipped::Duplicate));
        }
        assert_eq!((rig.runs(), skipped), (1, 63));
    }
}

#[tokio::test]
async fn the_same_id_with_another_body_is_a_duplicate_by_default() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 200);
    assert_eq!(rig.deliver(&event.with("note", 1)).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(rig.runs(), 1);
}

#[tokio::test]
async fn the_same_id_with_another_body_can_be_an_event_of_its_own() {
    let rig = Rig::with(|builder| builder.with_id_reuse_policy(IdReusePolicy::Process), async |_| OK);
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    for skipped in [None, Some(Skipped::Duplicate)] {
        assert_eq!(rig.deliver(&event).await.skipped, skipped);
        assert_eq!(rig.deliver(&other).await.skipped, skipped, "deduplicated by itself");
    }
    assert_eq!(rig.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_id_with_another_body_can_be_refused() {
    let rig = Rig::with(
        |builder| builder.with_id_reuse_policy(IdReusePolicy::Reject),
        async |delivery| {
            sleep(Duration::from_secs(1)).await;
            Ok(if delivery.attempt() == 1 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
        },
    );
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    let (first, meanwhile) = tokio::join!(rig.deliver(&event), rig.deliver(&other));
    assert_eq!(first.status, 500);
    assert_eq!(meanwhile.short(), (409, "id-reused".into()), "while it runs");
    assert_eq!(rig.deliver(&other).await.short(), (409, "id-reused".into()), "when it is free");
    assert_eq!(rig.deliver(&event).await.status, 200, "and it is free for its own body");
    assert_eq!(rig.deliver(&other).await.short(), (409, "id-reused".into()), "when it is done");
    assert_eq!(rig.runs(), 2);
}

#[tokio::test]
async fn when_another_body_comes_between_two_tries_both_take_effect_once() {
    for policy in [IdReusePolicy::Process, IdReusePolicy::Reject] {
        let effects = Arc::new(Mutex::new(Vec::new()));
        let seen = effects.clone();
        let tries = Arc::new(AtomicUsize::new(0));
        let rig = Rig::with(
            |builder| builder.with_id_reuse_policy(policy),
            move |delivery: Delivery| {
                let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
                if !first {
                    seen.lock().unwrap().push(delivery.body().len());
                }
                let status = if first { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
                std::future::ready(Ok(status))
            },
        );
        let event = TestEvent::busy();
        let other = event.clone().with("note", 1);
        assert_eq!(rig.deliver(&event).await.status, 500);
        for _ in 0..2 {
            let expected = if policy == IdReusePolicy::Process { 200 } else { 409 };
            assert_eq!(rig.deliver(&other).await.status, expected, "{policy:?}");
        }
        for _ in 0..2 {
            assert_eq!(rig.deliver(&event).await.status, 200, "{policy:?}");
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

#[tokio::test(start_paused = true)]
async fn when_the_client_goes_away_the_handler_finishes_and_settles() {
    let finished = Arc::new(AtomicBool::new(false));
    let seen = finished.clone();
    let rig = Rig::handling(move |_| {
        let seen = seen.clone();
        async move {
            sleep(Duration::from_secs(3)).await;
            seen.store(true, Ordering::SeqCst);
            OK
        }
    });
    let event = TestEvent::busy();
    let gone = tokio::time::timeout(Duration::from_secs(1), rig.deliver(&event)).await;
    assert!(gone.is_err() && !finished.load(Ordering::SeqCst));

    let start = Instant::now();
    rig.layer.drain().await;
    assert!(finished.load(Ordering::SeqCst), "drain waited for it");
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    assert_eq!(rig.store.calls(Op::Complete), 1);
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(rig.runs(), 1);
}

#[tokio::test]
async fn whenever_the_client_goes_away_the_event_is_handled_once_or_not_accepted() {
    for polls in 0..40 {
        let rig = Rig::handling(async |_| {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            OK
        });
        let event = TestEvent::busy();
        {
            let mut delivery = Box::pin(rig.deliver(&event));
            for _ in 0..polls {
                if futures_util::poll!(&mut delivery).is_ready() {
                    break;
                }
            }
        }
        rig.layer.drain().await;
        let answer = rig.deliver(&event).await;
        assert_eq!((answer.status.as_u16(), rig.runs()), (200, 1), "gone after {polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_long_handler_is_renewed_while_it_runs() {
    let rig = Rig::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        async |_| {
            sleep(LEASE * 5).await;
            OK
        },
    );
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(rig.deliver(&event), async {
        for _ in 0..9 {
            sleep(LEASE / 2).await;
            assert_eq!(rig.deliver(&event).await.short(), (503, "in-flight".into()));
        }
    });
    assert_eq!(first.status, 200);
    assert_eq!(rig.runs(), 1);
    assert!(rig.store.calls(Op::Renew) >= 14, "{} renewals", rig.store.calls(Op::Renew));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again() {
    let rig = Rig::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        async |_| {
            sleep(LEASE * 3 / 2).await;
            OK
        },
    );
    rig.store.break_next(Op::Renew, Fault::Hangs, 1);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(rig.deliver(&event), async {
        sleep(LEASE + LEASE / 4).await;
        rig.deliver(&event).await
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 503));
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_the_ceiling_may_be_overtaken_and_has_then_lost_its_claim() {
    let rig = Rig::with(
        |builder| builder.with_lease_ceiling(LEASE * 3).with_duplicate_wait(Duration::ZERO),
        async |delivery| {
            sleep(if delivery.attempt() == 1 { LEASE * 5 } else { LEASE * 3 / 2 }).await;
            Ok(if delivery.attempt() == 1 { StatusCode::OK } else { StatusCode::CREATED })
        },
    );
    let event = TestEvent::busy();
    let (first, ()) = tokio::join!(rig.deliver(&event), async {
        sleep(LEASE * 3 - Duration::from_secs(1)).await;
        assert_eq!(rig.deliver(&event).await.status, 503, "up to the ceiling the lease is held");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(rig.deliver(&event).await.status, 201, "then the next delivery is attempt 2");
    });
    assert_eq!(first.status, 200, "its answer stands");
    assert_eq!(rig.runs(), 2);
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn after_a_dead_process_the_next_delivery_is_attempt_two_when_the_lease_ends() {
    let (attempts, handler) = scripted([]);
    let rig = Rig::with(|builder| builder, handler);
    let event = TestEvent::busy();
    // Another process claimed the event and died: its claim is in the store, and nobody renews it.
    let id = roomz_protocol::Event::parse(&event.body()).unwrap().id;
    let claim = roomz_webhook::store::ClaimRequest::new(
        roomz_webhook::store::Owner::random(),
        roomz_webhook::store::Fingerprint::of(&event.body()),
        LEASE,
        LEASE * 1_000,
    );
    let key = roomz_webhook::store::ClaimKey::new("roomz".into(), id);
    let claimed = roomz_webhook::store::IdempotencyStore::claim(&rig.store, &key, &claim).await.unwrap();
    assert_eq!(claimed.state, roomz_webhook::store::ClaimState::claimed(1));

    assert_eq!(rig.deliver(&event).await.short(), (503, "in-flight".into()), "its lease still runs");
    sleep(LEASE - Duration::from_secs(12)).await;
    let start = Instant::now();
    assert_eq!(rig.deliver(&event).await.status, 200, "one who waits takes over when it ends");
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(*attempts.lock().unwrap(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_or_slow_at_the_claim_is_503_with_retry_after_and_nothing_runs() {
    for (fault, takes) in [(Fault::Fails, Duration::ZERO), (Fault::Hangs, Duration::from_secs(2))] {
        let rig = Rig::new();
        rig.store.break_next(Op::Claim, fault, 1);
        let event = TestEvent::busy();
        let start = Instant::now();
        let answer = rig.deliver(&event).await;
        assert_eq!(answer.short(), (503, "store-unavailable".into()));
        assert_eq!(answer.headers[header::RETRY_AFTER], "5");
        assert_eq!(start.elapsed(), takes);
        assert_eq!(rig.runs(), 0);
        assert_eq!(rig.deliver(&event).await.status, 200, "the redelivery is handled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_written_although_its_reply_got_lost_is_given_back() {
    for fault in [Fault::WrittenButFails, Fault::WrittenButHangs] {
        let rig = Rig::new();
        rig.store.break_next(Op::Claim, fault, 1);
        let event = TestEvent::busy();
        assert_eq!(rig.deliver(&event).await.status, 503);
        rig.layer.drain().await;
        let start = Instant::now();
        assert_eq!(rig.deliver(&event).await.status, 200);
        assert_eq!(start.elapsed(), Duration::ZERO, "without waiting for the lease to end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_can_be_passed_over_by_policy() {
    for fault in [Fault::Fails, Fault::Hangs, Fault::WrittenButFails, Fault::WrittenButHangs] {
        let rig = Rig::with(
            |builder| builder.with_store_failure_policy(StoreFailurePolicy::FailOpen),
            async |delivery| {
                assert_eq!(delivery.attempt(), 1);
                OK
            },
        );
        rig.store.break_next(Op::Claim, fault, 1);
        let event = TestEvent::busy();
        assert_eq!(rig.deliver(&event).await.status, 200);
        rig.layer.drain().await;
        assert_eq!(rig.runs(), 1);
        assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate), "{fault:?}");
        assert_eq!(rig.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_store_is_down_at_the_completion_the_answer_stands_and_it_is_tried_again() {
    for fault in [Fault::Fails, Fault::Hangs, Fault::WrittenButFails, Fault::WrittenButHangs] {
        let rig = Rig::new();
        rig.store.break_next(Op::Complete, fault, 4);
        let event = TestEvent::busy();
        let start = Instant::now();
        assert_eq!(rig.deliver(&event).await.status, 200);
        assert!(start.elapsed() <= Duration::from_secs(2), "{fault:?}: {:?}", start.elapsed());
        rig.layer.drain().await;
        assert!(rig.store.calls(Op::Complete) >= 2);
        assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate), "{fault:?}");
        assert_eq!(rig.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_store_is_down_at_the_release_it_is_tried_again() {
    let (attempts, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
    let rig = Rig::with(|builder| builder, handler);
    rig.store.break_next(Op::Release, Fault::Fails, 3);
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 500);
    let start = Instant::now();
    assert_eq!(rig.deliver(&event).await.status, 200, "a waiting redelivery runs as soon as it is free");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(*attempts.lock().unwrap(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn background_work_gives_up_in_the_end_so_that_shutdown_can() {
    let rig = Rig::handling(async |_| Ok(StatusCode::INTERNAL_SERVER_ERROR));
    rig.store.break_next(Op::Release, Fault::Fails, usize::MAX);
    assert_eq!(rig.deliver(&TestEvent::busy()).await.status, 500);
    let start = Instant::now();
    rig.layer.drain().await;
    let tried = start.elapsed();
    assert!((LEASE / 2..=LEASE).contains(&tried), "a release is of no use after the lease: {tried:?}");

    let rig = Rig::new();
    rig.store.break_next(Op::Complete, Fault::Fails, usize::MAX);
    assert_eq!(rig.deliver(&TestEvent::busy()).await.status, 200);
    let start = Instant::now();
    rig.layer.drain().await;
    assert!(start.elapsed() <= LEASE * 10, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_full_store_is_503_and_forgets_no_live_claim() {
    let gate = Arc::new(Semaphore::new(0));
    let gate_of_handlers = gate.clone();
    let handler = move |_: Delivery| {
        let gate = gate_of_handlers.clone();
        async move {
            gate.acquire().await?.forget();
            OK
        }
    };
    let store = roomz_webhook::store::MokaStore::builder().with_max_in_flight(4).build();
    let rig = Rig::with(|builder| builder.with_store(store), handler);
    let events: Vec<_> = (0..4).map(|_| TestEvent::busy()).collect();
    let running: Vec<_> = events
        .iter()
        .map(|event| {
            let (rig, event) = (rig.clone(), event.clone());
            tokio::spawn(async move { rig.deliver(&event).await })
        })
        .collect();
    until("four handlers run", || rig.runs() == 4).await;
    assert_eq!(rig.deliver(&TestEvent::busy()).await.short(), (503, "store-unavailable".into()));
    gate.add_permits(100);
    for task in running {
        assert_eq!(task.await.unwrap().status, 200);
    }
    assert_eq!(rig.deliver(&TestEvent::busy()).await.status, 200);
    for event in &events {
        assert_eq!(rig.deliver(event).await.skipped, Some(Skipped::Duplicate));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handled_id_is_forgotten_after_its_retention_and_not_before() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.skipped, None);
    let day = Duration::from_secs(24 * 60 * 60);
    sleep(day * 7 - Duration::from_secs(1)).await;
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(rig.deliver(&event).await.skipped, None);
    assert_eq!(rig.runs(), 2);
}

#[tokio::test]
async fn a_service_that_was_not_asked_whether_it_is_ready_is_waited_for() {
    // tower's concurrency limit panics when it is called without being ready.
    let (started, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let service = tower::ServiceBuilder::new().concurrency_limit(1).service({
        let (started, go) = (started.clone(), go.clone());
        tower::service_fn(move |_: http::Request<roomz_webhook::WebhookBody>| {
            let (started, go) = (started.clone(), go.clone());
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                Ok::<_, BoxError>(http::Response::new(String::new()))
            }
        })
    });
    let layer = roomz_webhook::WebhookLayer::builder(roomz_tests::secret()).build().unwrap();
    let mut service = tower::Layer::layer(&layer, service);
    let request = || TestEvent::busy().request::<Body>("/", &roomz_tests::secret());
    // Called without `poll_ready`, twice.
    let first = tokio::spawn(tower::Service::call(&mut service, request()));
    let second = tokio::spawn(tower::Service::call(&mut service, request()));
    until("one runs", || started.load(Ordering::SeqCst) == 1).await;
    let unsigned = http::Request::post("/").body(Body::empty()).unwrap();
    let refused = service.clone().oneshot(unsigned).await.unwrap();
    assert_eq!(refused.status(), 401, "a refusal does not wait for the service");
    go.notify_one();
    until("the other runs", || started.load(Ordering::SeqCst) == 2).await;
    go.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_finds_an_event_that_another_process_finishes_by_asking_again() {
    // Two layers on one store are two processes as far as waiting goes: the bell of one is not heard in the other.
    let store = roomz_webhook::store::MokaStore::builder().with_clock(roomz_tests::TokioClock::new()).build();
    let one = Rig::with(
        {
            let store = store.clone();
            |b| b.with_store(store)
        },
        async |_| {
            sleep(Duration::from_secs(4)).await;
            OK
        },
    );
    let two = Rig::with(|builder| builder.with_store(store), async |_| OK);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(one.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        let start = Instant::now();
        (two.deliver(&event).await, start.elapsed())
    });
    assert_eq!(first.skipped, None);
    assert_eq!(second.0.skipped, Some(Skipped::Duplicate));
    assert!(second.1 <= Duration::from_secs(4), "at most a second late: {:?}", second.1);
    assert_eq!((one.runs(), two.runs()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_a_duplicate_waits_never_runs_what_is_known_to_be_running() {
    for policy in [StoreFailurePolicy::FailClosed, StoreFailurePolicy::FailOpen] {
        let rig = Rig::with(
            |builder| builder.with_store_failure_policy(policy),
            async |_| {
                sleep(Duration::from_secs(9)).await;
                OK
            },
        );
        let event = TestEvent::busy();
        let (first, second) = tokio::join!(rig.deliver(&event), async {
            sleep(Duration::from_secs(1)).await;
            let second = tokio::spawn({
                let (rig, event) = (rig.clone(), event.clone());
                async move { rig.deliver(&event).await }
            });
            sleep(Duration::from_secs(1)).await;
            rig.store.break_next(Op::Claim, Fault::Fails, 1);
            second.await.unwrap()
        });
        assert_eq!(first.status, 200);
        assert_eq!(second.short(), (503, "store-unavailable".into()), "{policy:?}");
        assert_eq!(rig.runs(), 1, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_processed_during_an_outage_is_remembered_when_the_store_is_back() {
    let rig =
        Rig::with(|builder| builder.with_store_failure_policy(StoreFailurePolicy::FailOpen), async |_| OK);
    for op in [Op::Claim, Op::Complete] {
        rig.store.break_next(op, Fault::Fails, 3);
    }
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.skipped, None);
    let during = rig.deliver(&event).await;
    assert_eq!(during.skipped, Some(Skipped::Duplicate), "this process knows");
    rig.layer.drain().await;
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate), "and now the store does");
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handled_event_is_a_duplicate_here_even_if_the_store_cannot_be_told_before_the_lease_ends() {
    let rig = Rig::new();
    rig.store.break_next(Op::Complete, Fault::Fails, 40);
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 200);
    sleep(LEASE * 2).await;
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    rig.store.break_next(Op::Claim, Fault::Fails, 1);
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate), "without asking the store");
    rig.store.mend();
    rig.layer.drain().await;
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_under_load_does_not_end_in_a_storm_of_releases() {
    let rig = Rig::new();
    for op in [Op::Claim, Op::Release] {
        rig.store.break_next(op, Fault::Fails, usize::MAX);
    }
    let event = TestEvent::busy();
    for _ in 0..1_000 {
        assert_eq!(rig.deliver(&event).await.status, 503);
    }
    rig.layer.drain().await;
    let each = rig.store.calls(Op::Release) / 8;
    assert!(each < 30, "eight at most of one event, and {each} for each");
    for _ in 0..3_000 {
        assert_eq!(rig.deliver(&TestEvent::busy()).await.status, 503);
    }
    let before = rig.store.calls(Op::Release);
    rig.layer.drain().await;
    let each = (rig.store.calls(Op::Release) - before) / 1_000;
    assert!(each < 30, "a thousand at most, and {each} for each");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_lands_after_it_was_given_back_is_given_back_again() {
    let rig = Rig::new();
    rig.store.break_next(Op::Claim, Fault::WrittenLate(Duration::from_secs(3)), 1);
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 503);
    sleep(Duration::from_secs(4)).await;
    let start = Instant::now();
    assert_eq!(rig.deliver(&event).await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(6), "not the whole lease: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn each_claim_of_an_event_that_may_have_been_written_is_given_back() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    // The first is not written and still looked for when the second is, without a reply.
    rig.store.break_next(Op::Claim, Fault::Fails, 1);
    assert_eq!(rig.deliver(&event).await.status, 503);
    rig.store.break_next(Op::Claim, Fault::WrittenButFails, 1);
    assert_eq!(rig.deliver(&event).await.status, 503);
    let start = Instant::now();
    assert_eq!(rig.deliver(&event).await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(6), "not the whole lease: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_has_failed_and_the_answer_stands() {
    let rig = Rig::new();
    rig.store.break_next(Op::Claim, Fault::Panics, 1);
    assert_eq!(rig.deliver(&TestEvent::busy()).await.short(), (503, "store-unavailable".into()));
    rig.store.break_next(Op::Complete, Fault::Panics, 2);
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 200);
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_always_finds_something_to_do_cannot_starve_its_lease() {
    // It uses up its task's budget each time it is polled, and a timer without budget is never set.
    let done = Arc::new(AtomicBool::new(false));
    let end = done.clone();
    let rig = Rig::with(
        |builder| builder.with_duplicate_wait(Duration::ZERO),
        move |delivery: Delivery| {
            let end = end.clone();
            async move {
                while delivery.attempt() == 1 && !end.load(Ordering::SeqCst) {
                    tokio::task::consume_budget().await;
                }
                OK
            }
        },
    );
    let event = TestEvent::busy();
    let first = tokio::spawn({
        let (rig, event) = (rig.clone(), event.clone());
        async move { rig.deliver(&event).await }
    });
    until("the handler runs", || rig.runs() == 1).await;
    for _ in 0..90 {
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.deliver(&event).await.status, 503, "long after the first lease");
    assert!(rig.store.calls(Op::Renew) >= 3, "{} renewals", rig.store.calls(Op::Renew));
    done.store(true, Ordering::SeqCst);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_layer_mounted_twice_looks_once() {
    let layer = roomz_webhook::WebhookLayer::builder(roomz_tests::secret()).build().unwrap();
    let app = axum::Router::new()
        .route("/", axum::routing::post(async |_: roomz_axum::WebhookEvent| "handled").layer(layer.clone()))
        .layer(layer);
    let event = TestEvent::busy();
    for skipped in [None, Some(Skipped::Duplicate)] {
        let request = event.request::<Body>("/", &roomz_tests::secret());
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!((response.status(), response.extensions().get().copied()), (StatusCode::OK, skipped));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_here_to_be_handled_is_known_with_its_body() {
    for policy in [IdReusePolicy::Acknowledge, IdReusePolicy::Process, IdReusePolicy::Reject] {
        let rig = Rig::with(|builder| builder.with_id_reuse_policy(policy), async |_| OK);
        rig.store.break_next(Op::Complete, Fault::Fails, 3);
        let event = TestEvent::busy();
        assert_eq!(rig.deliver(&event).await.status, 200);
        let other = rig.deliver(&event.clone().with("note", 1)).await;
        let expected = match policy {
            IdReusePolicy::Process => (200, None, 2),
            IdReusePolicy::Reject => (409, None, 1),
            _ => (200, Some(Skipped::Duplicate), 1),
        };
        assert_eq!((other.status.as_u16(), other.skipped, rig.runs()), expected, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_process_knew_is_forgotten_with_the_stores_own_retention() {
    let rig = Rig::new();
    rig.store.break_next(Op::Complete, Fault::Fails, 3);
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 200);
    rig.layer.drain().await;
    sleep(Duration::from_secs(8 * 24 * 60 * 60)).await;
    assert_eq!(rig.deliver(&event).await.skipped, None, "a week is over");
    assert_eq!(rig.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_duplicate_is_answered_when_the_first_is_done_even_if_the_store_cannot_be_told() {
    let rig = Rig::handling(async |_| {
        sleep(Duration::from_secs(3)).await;
        OK
    });
    rig.store.break_next(Op::Complete, Fault::Fails, usize::MAX);
    let event = TestEvent::busy();
    let start = Instant::now();
    let (first, second) = tokio::join!(rig.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        (rig.deliver(&event).await, start.elapsed())
    });
    assert_eq!((first.status, first.skipped), (StatusCode::OK, None));
    assert_eq!(second.0.skipped, Some(Skipped::Duplicate));
    assert_eq!(second.1, Duration::from_secs(3), "at once");
}

#[tokio::test(start_paused = true)]
async fn two_outages_on_one_event_are_both_cleaned_up() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    for _ in 0..2 {
        rig.store.break_next(Op::Claim, Fault::WrittenButFails, 1);
        assert_eq!(rig.deliver(&event).await.status, 503);
        rig.layer.drain().await;
    }
    let start = Instant::now();
    assert_eq!(rig.deliver(&event).await.status, 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_during_an_outage_leaves_a_claim_that_lands_late_free() {
    let (_, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
    let rig = Rig::with(|builder| builder.with_store_failure_policy(StoreFailurePolicy::FailOpen), handler);
    rig.store.break_next(Op::Claim, Fault::WrittenLate(Duration::from_secs(3)), 1);
    let event = TestEvent::busy();
    assert_eq!(rig.deliver(&event).await.status, 500);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(rig.deliver(&event).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_event_processed_during_an_outage_is_completed_even_if_another_runs_it_meanwhile_and_fails() {
    let rig = Rig::with(|builder| builder.with_store_failure_policy(StoreFailurePolicy::FailOpen), {
        let runs = Arc::new(AtomicUsize::new(0));
        move |_: Delivery| {
            let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                sleep(Duration::from_secs(if first { 2 } else { 4 })).await;
                Ok(if first { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR })
            }
        }
    });
    rig.store.break_next(Op::Claim, Fault::Fails, 1);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(rig.deliver(&event), async {
        sleep(Duration::from_secs(1)).await;
        rig.deliver(&event).await
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 500));
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    rig.layer.drain().await;
    assert_eq!(rig.deliver(&event).await.skipped, Some(Skipped::Duplicate), "and the store knows");
    assert_eq!(rig.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_complete_the_event_of_another_body() {
    for policy in [IdReusePolicy::Process, IdReusePolicy::Reject] {
        let (_, handler) = scripted([StatusCode::INTERNAL_SERVER_ERROR]);
        let settings = move |builder: roomz_webhook::WebhookLayerBuilder| {
            builder.with_store_failure_policy(StoreFailurePolicy::FailOpen).with_id_reuse_policy(policy)
        };
        let rig = Rig::with(settings, handler);
        let event = TestEvent::busy();
        assert_eq!(rig.deliver(&event).await.status, 500);
        rig.store.break_next(Op::Claim, Fault::Fails, 1);
        assert_eq!(rig.deliver(&event.clone().with("note", 1)).await.status, 200, "unknown to us");
        rig.layer.drain().await;
        let redelivered = rig.deliver(&event).await;
        assert_eq!((redelivered.status, redelivered.skipped), (StatusCode::OK, None), "{policy:?}: handled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_not_asked_to_give_back_what_it_did_not_take() {
    let rig = Rig::new();
    rig.store.break_next(Op::Claim, Fault::Full, 1);
    assert_eq!(rig.deliver(&TestEvent::busy()).await.short(), (503, "store-unavailable".into()));
    rig.layer.drain().await;
    assert_eq!(rig.store.calls(Op::Release), 0);
}
