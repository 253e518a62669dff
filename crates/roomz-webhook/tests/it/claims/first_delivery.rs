//! The first delivery of an event, and its retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::routing::post;
use axum::{Extension, Router};
use http::{Request, Response, StatusCode};
use roomz_protocol::Event;
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, Skipped, WebhookBody, WebhookLayer};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer as _, Service as _, ServiceBuilder, ServiceExt as _, service_fn};

use super::{LEASE, OK, scripted};
use crate::support::{Op, TestReceiver, eventually, secret};

#[tokio::test]
async fn completes_claim_when_handler_returns_2xx() {
    let receiver = TestReceiver::with_handler(async |_| Ok(StatusCode::CREATED));
    let response = receiver.deliver(&TestEvent::busy()).await;
    assert_eq!((response.status, response.skipped), (StatusCode::CREATED, None));
    assert_eq!((receiver.store.calls(Op::Claim), receiver.store.calls(Op::Complete)), (1, 1));
    assert_eq!((receiver.store.calls(Op::Release), receiver.store.calls(Op::Renew)), (0, 0));
}

/// The response is passed through. The redelivery has the next attempt number.
#[tokio::test]
async fn releases_claim_unless_2xx() {
    let statuses = [StatusCode::BAD_REQUEST, StatusCode::FOUND, StatusCode::INTERNAL_SERVER_ERROR];
    let (attempts, handler) = scripted(statuses);
    let receiver = TestReceiver::with(|builder| builder, handler);
    let event = TestEvent::busy();
    for status in [400, 302, 500, 200] {
        assert_eq!(receiver.deliver(&event).await.status.as_u16(), status, "the response of the handler");
    }
    assert_eq!(receiver.deliver(&event).await.skipped, Some(Skipped::Duplicate));
    assert_eq!(*attempts.lock().unwrap(), [1, 2, 3, 4]);
    assert_eq!(receiver.store.calls(Op::Release), 3);
}

/// The error of the service is passed through.
#[tokio::test]
async fn releases_claim_when_service_fails() {
    let receiver = TestReceiver::with_handler(async |delivery| match delivery.attempt() {
        1 => Err(BoxError::from("the database is gone")),
        _ => OK,
    });
    let event = TestEvent::busy();
    let request = || event.request::<Body>("/", &secret());
    assert_eq!(receiver.try_send(request()).await.unwrap_err().to_string(), "the database is gone");
    assert_eq!(receiver.send(request()).await.status, 200);
}

/// The value of the panic panics when it is dropped.
#[tokio::test]
async fn releases_claim_when_panic_payload_panics() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in the drop of a panic payload");
        }
    }
    let receiver = TestReceiver::with_handler(async |delivery| {
        if delivery.attempt() == 1 {
            std::panic::panic_any(PanicsInDrop);
        }
        OK
    });
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.outcome(), (500, "handler-panicked".into()));
    assert_eq!(receiver.deliver(&event).await.outcome(), (200, String::new()), "the claim was released");
}

#[tokio::test]
async fn releases_claim_when_handler_panics() {
    let receiver = TestReceiver::with_handler(async |delivery| {
        assert!(delivery.attempt() > 1, "injected panic");
        OK
    });
    let event = TestEvent::busy();
    assert_eq!(receiver.deliver(&event).await.outcome(), (500, "handler-panicked".into()));
    assert_eq!(receiver.deliver(&event).await.status, 200);
    assert_eq!(receiver.runs(), 2);
}

/// `call` without `poll_ready` is allowed. A rejection does not wait for the inner service.
#[tokio::test]
async fn waits_until_inner_service_is_ready() {
    // tower's concurrency limit panics when it is called without being ready.
    let (started, finish) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let service = ServiceBuilder::new().concurrency_limit(1).service({
        let (started, finish) = (started.clone(), finish.clone());
        service_fn(move |_: Request<WebhookBody>| {
            let (started, finish) = (started.clone(), finish.clone());
            async move {
                started.fetch_add(1, Ordering::SeqCst);
                finish.notified().await;
                Ok::<_, BoxError>(Response::new(String::new()))
            }
        })
    });
    let layer = WebhookLayer::builder(secret()).build().unwrap();
    let mut service = layer.layer(service);
    let request = || TestEvent::busy().request::<Body>("/", &secret());
    // Called without `poll_ready`, twice.
    let first = tokio::spawn(service.call(request()));
    let second = tokio::spawn(service.call(request()));
    eventually("the first call runs", || started.load(Ordering::SeqCst) == 1).await;
    let unsigned = Request::post("/").body(Body::empty()).unwrap();
    let rejected = service.clone().oneshot(unsigned).await.unwrap();
    assert_eq!(rejected.status(), 401);
    finish.notify_one();
    eventually("the second call runs", || started.load(Ordering::SeqCst) == 2).await;
    finish.notify_one();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn layer_mounted_twice_verifies_once() {
    let layer = WebhookLayer::builder(secret()).build().unwrap();
    let app = Router::new()
        .route("/", post(async |_: Extension<Delivery>| "handled").layer(layer.clone()))
        .layer(layer);
    let event = TestEvent::busy();
    for skipped in [None, Some(Skipped::Duplicate)] {
        let request = event.request::<Body>("/", &secret());
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!((response.status(), response.extensions().get().copied()), (StatusCode::OK, skipped));
    }
}

/// The next delivery is attempt 2, as soon as the lease has ended.
#[tokio::test(start_paused = true)]
async fn takes_over_after_process_died() {
    let (attempts, handler) = scripted([]);
    let receiver = TestReceiver::with(|builder| builder, handler);
    let event = TestEvent::busy();
    // The claim of the process that died is in the store, and is not renewed.
    let id = Event::parse(&event.body()).unwrap().id;
    let claim = ClaimRequest::new(Owner::random(), Fingerprint::of(&event.body()), LEASE, LEASE * 1_000);
    let key = ClaimKey::new("roomz".into(), id);
    let claimed = receiver.store.claim(&key, &claim).await.unwrap();
    assert_eq!(claimed.state, ClaimState::claimed(1));

    assert_eq!(
        receiver.deliver(&event).await.outcome(),
        (503, "in-flight".into()),
        "the lease has not ended"
    );
    sleep(LEASE - Duration::from_secs(12)).await;
    let start = Instant::now();
    assert_eq!(receiver.deliver(&event).await.status, 200, "the waiting delivery takes over");
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(*attempts.lock().unwrap(), [2]);
}
