//! Checks 5 and 6: reading the body within its limits, and the signature.

use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Limited;
use roomz_protocol::testing::signed_request;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, Secret, Secrets, WebhookLayer, WebhookLayerBuilder};
use tokio::time::Instant;
use tower::{BoxError, ServiceExt as _};

use super::{signed, with_body};
use crate::support::{TestReceiver, secret};

/// A body whose frames arrive with a pause before each.
fn slow_body(frames: Vec<Bytes>, pause: Duration) -> Body {
    Body::from_stream(stream::unfold(frames.into_iter(), move |mut frames| async move {
        tokio::time::sleep(pause).await;
        Some((Ok::<_, BoxError>(frames.next()?), frames))
    }))
}

/// The limit holds with a correct, a wrong and no `Content-Length`.
#[tokio::test]
async fn limits_body_with_any_content_length() {
    let receiver = TestReceiver::with(|builder| builder.with_body_limit(1_000), async |_| Ok(StatusCode::OK));
    let empty = TestEvent::busy().with("pad", "");
    let fits = empty.clone().with("pad", "x".repeat(1_000 - empty.body().len()));
    assert_eq!(fits.body().len(), 1_000);
    assert_eq!(receiver.deliver(&fits).await.status, 200, "exactly the limit is allowed");

    let over = fits.clone().with("more", 1).request::<Body>("/", &secret());
    let bytes = fits.with("more", 1).body();
    let frames = || {
        let frames = bytes.chunks(100).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        Body::from_stream(stream::iter(frames.into_iter().map(Ok::<_, BoxError>)))
    };
    let (head, _) = over.into_parts();
    for length in [Some("1007"), Some("10"), Some("-1"), Some("abc"), None] {
        let mut request = Request::from_parts(head.clone(), frames());
        if let Some(length) = length {
            request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        assert_eq!(receiver.send(request).await.outcome(), (413, "body-too-large".into()), "{length:?}");
    }
    let one_frame = Request::from_parts(head, Body::from(bytes));
    assert_eq!(receiver.send(one_frame).await.status, 413);
    assert_eq!(receiver.runs(), 1);
}

/// The timeout is a total, not one per frame.
#[tokio::test(start_paused = true)]
async fn body_timeout_covers_whole_body() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    let bytes: Vec<Bytes> = event.body().chunks(1).map(Bytes::copy_from_slice).collect();
    let start = Instant::now();
    let one_byte_per_second =
        with_body(event.request("/", &secret()), slow_body(bytes, Duration::from_secs(1)));
    let response = receiver.send(one_byte_per_second).await;
    assert_eq!(response.outcome(), (408, "body-timeout".into()));
    assert_eq!(start.elapsed(), Duration::from_secs(10));

    let held = Arc::new(());
    let guard = Arc::clone(&held);
    let silent = stream::poll_fn(move |_| {
        let _held = &guard;
        Poll::<Option<Result<Bytes, BoxError>>>::Pending
    });
    let silent = with_body(event.request("/", &secret()), Body::from_stream(silent));
    let start = Instant::now();
    assert_eq!(receiver.send(silent).await.outcome(), (408, "body-timeout".into()));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!(Arc::strong_count(&held), 1, "nobody reads the rest");
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn accepts_slow_body_within_timeout() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    let frames: Vec<Bytes> = event.body().chunks(50).map(Bytes::copy_from_slice).collect();
    let slow = with_body(event.request("/", &secret()), slow_body(frames, Duration::from_millis(100)));
    assert_eq!(receiver.send(slow).await.status, 200);
}

/// The process was stopped for longer than the deadline, and the server passes on one frame each time the
/// task yields.
#[tokio::test(start_paused = true)]
async fn long_body_may_be_in_socket_at_deadline() {
    let settings = |builder: WebhookLayerBuilder| builder.with_body_limit(1024 * 1024);
    let receiver = TestReceiver::with(settings, async |_| Ok(StatusCode::OK));
    let event = TestEvent::busy().with("note", "x".repeat(800_000));
    let frames: Vec<_> = event.body().chunks(4 * 1024).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(frames).enumerate().then(async |(index, frame)| {
        // The deadline is set when the body is not ready at first.
        tokio::task::yield_now().await;
        if index == 0 {
            tokio::time::advance(Duration::from_secs(11)).await;
        }
        Ok::<_, BoxError>(frame)
    });
    let request = with_body(event.request("/", &secret()), Body::from_stream(frames));
    assert_eq!(receiver.send(request).await.outcome(), (200, String::new()));
}

/// However long a body may be, its deadline ends soon after it has passed.
#[tokio::test(start_paused = true)]
async fn deadline_ends_with_any_limit() {
    let settings = |builder: WebhookLayerBuilder| builder.with_body_limit(usize::MAX);
    let receiver = TestReceiver::with(settings, async |_| Ok(StatusCode::OK));
    let mut polls = 0;
    let stalled = stream::poll_fn(move |_| {
        polls += 1;
        assert!(polls < 10_000, "the deadline has passed");
        Poll::Pending::<Option<Result<Bytes, BoxError>>>
    });
    let request = with_body(signed(), Body::from_stream(stalled));
    assert_eq!(receiver.send(request).await.outcome(), (408, "body-timeout".into()));
}

#[tokio::test]
async fn rejects_broken_stream() {
    let receiver = TestReceiver::new();
    let frames = [Ok(Bytes::from_static(b"{")), Err(BoxError::from("connection reset"))];
    let broken = with_body(signed(), Body::from_stream(stream::iter(frames)));
    assert_eq!(receiver.send(broken).await.outcome(), (400, "body-broken".into()));
    assert_eq!(receiver.store.total_calls(), 0);
}

/// `Limited` is the body of tower-http's `RequestBodyLimitLayer`.
#[tokio::test]
async fn limit_in_front_of_layer_is_413() {
    let receiver = TestReceiver::new();
    let limited = Limited::new(Body::from(TestEvent::busy().body()), 100);
    let request = with_body(signed(), Body::new(limited));
    assert_eq!(receiver.send(request).await.outcome(), (413, "body-too-large".into()));
    assert_eq!(receiver.store.total_calls(), 0);
}

/// What a timeout of the server or of a middleware in front of the layer ends the body with.
#[tokio::test(start_paused = true)]
async fn timeout_in_front_of_layer_is_408() {
    let receiver = TestReceiver::new();
    let elapsed = tokio::time::timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
    let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
    for error in [BoxError::from(elapsed), BoxError::from(timed_out)] {
        let request = with_body(signed(), Body::from_stream(stream::iter([Err::<Bytes, _>(error)])));
        assert_eq!(receiver.send(request).await.outcome(), (408, "body-timeout".into()));
    }
}

/// A body of empty frames that are always ready.
#[tokio::test(start_paused = true)]
async fn empty_frames_reach_timeout() {
    let receiver = TestReceiver::new();
    let frames = stream::repeat_with(|| Ok::<_, BoxError>(Bytes::new()));
    let response = tokio::spawn({
        let (receiver, request) = (receiver.clone(), with_body(signed(), Body::from_stream(frames)));
        async move { receiver.send(request).await }
    });
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(response.await.unwrap().outcome(), (408, "body-timeout".into()));
}

#[tokio::test]
async fn does_not_copy_single_frame() {
    let body = Bytes::from(TestEvent::busy().body());
    let address = body.as_ptr() as usize;
    let receiver = TestReceiver::with_handler(move |delivery: Delivery| {
        assert_eq!(delivery.body().as_ptr() as usize, address, "the handler receives the same memory");
        ready(Ok(StatusCode::OK))
    });
    // A chunked body does not know after its only frame that it is complete.
    let chunked = Body::from_stream(stream::iter([Ok::<_, BoxError>(body.clone())]));
    for one_frame in [Body::from(body.clone()), chunked] {
        let request = signed_request::<Body>("/", body.to_vec(), &secret());
        assert_eq!(receiver.send(with_body(request, one_frame)).await.status, 200);
    }
}

/// The stream of `slow_body` panics if it is polled again.
#[tokio::test(start_paused = true)]
async fn does_not_poll_body_after_its_end() {
    let receiver = TestReceiver::with_handler(|_: Delivery| ready(Ok(StatusCode::OK)));
    let bytes = Bytes::from(TestEvent::busy().body());
    for (size, status) in [(0, 401), (1, 401), (bytes.len(), 200)] {
        let request = signed_request::<Body>("/", bytes.to_vec(), &secret());
        let frames = if size == 0 { Vec::new() } else { vec![bytes.slice(..size)] };
        let body = slow_body(frames, Duration::from_millis(1));
        assert_eq!(receiver.send(with_body(request, body)).await.status, status, "{size} bytes");
    }
    let request = signed_request::<Body>("/", bytes.to_vec(), &secret());
    let two_frames = vec![bytes.slice(..1), bytes.slice(1..)];
    let response = receiver.send(with_body(request, slow_body(two_frames, Duration::from_millis(1)))).await;
    assert_eq!(response.status, 200, "a duplicate");
}

/// The delivery contains the position of the matching secret.
#[tokio::test]
async fn verifies_under_every_secret() {
    let secrets = ["new", "old", "older"].map(|text| Secret::new(text).unwrap());
    let positions = Arc::new(Mutex::new(Vec::new()));
    let recorded = positions.clone();
    let layer = WebhookLayer::builder(Secrets::new(secrets.clone()).unwrap()).build().unwrap();
    let handler = async move |Extension(delivery): Extension<Delivery>| {
        recorded.lock().unwrap().push(delivery.secret_position());
    };
    let app = Router::new().route("/", post(handler).layer(layer));
    for secret in &secrets {
        let request = TestEvent::busy().request::<Body>("/", secret);
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 200);
    }
    let request = TestEvent::busy().request::<Body>("/", &secret());
    assert_eq!(app.oneshot(request).await.unwrap().status(), 401);
    assert_eq!(*positions.lock().unwrap(), [0, 1, 2]);
}
