//! `check_ready`, `begin_shutdown` and the connection header of responses.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, Version, header};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Rejection, RejectionKind, WebhookLayer};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::{Fault, Op, TestReceiver, secret};

async fn check(layer: &WebhookLayer) -> Result<(), RejectionKind> {
    layer.check_ready().await.map_err(|rejection: Rejection| rejection.kind())
}

#[tokio::test(start_paused = true)]
async fn ready_while_store_answers() {
    let receiver = TestReceiver::new();
    assert_eq!(check(&receiver.layer).await, Ok(()));
    assert_eq!((receiver.store.calls(Op::Renew), receiver.store.total_calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn not_ready_while_store_fails() {
    for fault in [Fault::Error, Fault::Hang, Fault::Panic] {
        let receiver = TestReceiver::new();
        receiver.store.inject(Op::Renew, fault, 1);
        let start = Instant::now();
        assert_eq!(check(&receiver.layer).await, Err(RejectionKind::StoreUnavailable), "{fault:?}");
        assert!(start.elapsed() <= Duration::from_secs(2), "the store timeout");
        advance(Duration::from_secs(1)).await;
        assert_eq!(check(&receiver.layer).await, Ok(()), "the store is available again: {fault:?}");
    }
}

/// Anybody may reach the route: a flood of probes is one call of the store per second.
#[tokio::test(start_paused = true)]
async fn many_probes_call_store_once_per_second() {
    for fault in [None, Some(Fault::Hang)] {
        let receiver = TestReceiver::new();
        if let Some(fault) = fault {
            receiver.store.inject(Op::Renew, fault, 1);
        }
        let expected = if fault.is_some() { Err(RejectionKind::StoreUnavailable) } else { Ok(()) };
        let results = join_all((0..1_000).map(|_| check(&receiver.layer))).await;
        assert!(results.iter().all(|result| *result == expected), "{fault:?}");
        assert_eq!(receiver.store.total_calls(), 1, "{fault:?}");
        advance(Duration::from_millis(999)).await;
        assert_eq!(check(&receiver.layer).await, expected);
        assert_eq!(receiver.store.total_calls(), 1, "{fault:?}");
        advance(Duration::from_millis(1)).await;
        assert_eq!(check(&receiver.layer).await, Ok(()));
        assert_eq!(receiver.store.total_calls(), 2, "{fault:?}");
    }
}

/// A layer that fails open handles deliveries without the store.
#[tokio::test(start_paused = true)]
async fn fail_open_is_ready_without_store() {
    let receiver = TestReceiver::with(|builder| builder.with_fail_open(), async |_| Ok(StatusCode::OK));
    receiver.store.inject(Op::Renew, Fault::Error, usize::MAX);
    assert_eq!(check(&receiver.layer).await, Ok(()));
    receiver.layer.begin_shutdown();
    assert_eq!(check(&receiver.layer).await, Err(RejectionKind::ShuttingDown));
}

#[tokio::test(start_paused = true)]
async fn handles_deliveries_after_shutdown_begins() {
    let receiver = TestReceiver::new();
    assert!(receiver.deliver(&TestEvent::busy()).await.headers.get(header::CONNECTION).is_none());
    receiver.layer.begin_shutdown();
    assert_eq!(check(&receiver.layer.clone()).await, Err(RejectionKind::ShuttingDown));
    assert_eq!(receiver.store.calls(Op::Renew), 0, "the store was not asked");

    let handled = receiver.deliver(&TestEvent::busy()).await;
    assert_eq!((handled.status, receiver.runs()), (StatusCode::OK, 2));
    assert_eq!(handled.headers[header::CONNECTION], "close");
    let rejected = receiver.send(Request::post("/").body(Body::empty()).unwrap()).await;
    assert_eq!(rejected.status, StatusCode::UNAUTHORIZED);
    assert_eq!(rejected.headers[header::CONNECTION], "close");
}

/// HTTP/2 forbids the header.
#[tokio::test(start_paused = true)]
async fn http2_response_has_no_connection_header() {
    let receiver = TestReceiver::new();
    receiver.layer.begin_shutdown();
    let mut request = TestEvent::busy().request::<Body>("/webhooks/roomz", &secret());
    *request.version_mut() = Version::HTTP_2;
    assert!(receiver.send(request).await.headers.get(header::CONNECTION).is_none());
}

#[tokio::test(start_paused = true)]
async fn not_ready_while_draining() {
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        Ok(StatusCode::OK)
    });
    let event = TestEvent::busy();
    tokio::join!(
        receiver.deliver(&event),
        async {
            sleep(Duration::from_secs(1)).await;
            receiver.layer.drain().await;
        },
        async {
            sleep(Duration::from_secs(2)).await;
            assert_eq!(check(&receiver.layer).await, Err(RejectionKind::ShuttingDown));
        },
    );
    assert_eq!(check(&receiver.layer).await, Ok(()), "the drain is over");
}

/// A probe that gives up before the store timeout does not start another check, and the next probe gets the
/// result.
#[tokio::test(start_paused = true)]
async fn abandoned_probe_leaves_its_result() {
    let receiver = TestReceiver::new();
    receiver.store.inject(Op::Renew, Fault::Hang, 1);
    for _ in 0..100 {
        let probe = timeout(Duration::from_millis(1), receiver.layer.check_ready());
        assert!(probe.await.is_err(), "no result within the time of the probe");
    }
    assert_eq!(check(&receiver.layer).await, Err(RejectionKind::StoreUnavailable));
    assert_eq!(receiver.store.total_calls(), 1);
}

/// A request on another path may change its protocol, so that its connection must stay open.
#[tokio::test(start_paused = true)]
async fn other_paths_keep_their_connection() {
    let upgrade = service_fn(|_| async {
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok::<_, Infallible>(response.header(header::CONNECTION, "upgrade").body(String::new()).unwrap())
    });
    let layer = WebhookLayer::builder(secret()).with_path("/webhooks/roomz").build().unwrap();
    layer.begin_shutdown();
    let request = Request::get("/socket").body(Body::empty()).unwrap();
    let response = layer.layer(upgrade).oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONNECTION], "upgrade");
}
