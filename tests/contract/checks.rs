//! Section 1: the order of checks, one test a row.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Frame;
use roomz_protocol::Timestamp;
use roomz_protocol::testing::signed_request;
use roomz_tests::{Rig, secret};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{RejectionKind, Secret, Secrets, Skipped, StalePolicy, WebhookLayer};
use tokio::time::Instant;
use tower::{BoxError, ServiceExt as _};

/// A body that must not be read.
struct Unread;

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("the body was read");
    }
}

fn signed() -> Request<Body> {
    TestEvent::busy().request("/webhooks/roomz", &secret())
}

fn with_body(request: Request<Body>, body: Body) -> Request<Body> {
    request.map(|_| body)
}

/// Frames that come with a pause before each.
fn slowly(frames: impl IntoIterator<Item = Bytes> + Send + 'static, pause: Duration) -> Body
where
    <Vec<Bytes> as IntoIterator>::IntoIter: Send,
{
    let frames: Vec<Bytes> = frames.into_iter().collect();
    Body::from_stream(stream::unfold(frames.into_iter(), move |mut frames| async move {
        tokio::time::sleep(pause).await;
        Some((Ok::<_, BoxError>(frames.next()?), frames))
    }))
}

#[tokio::test]
async fn row_1_any_method_but_post_is_405_and_says_what_is_allowed() {
    let rig = Rig::new();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post", "ROOMZ"] {
        let mut request = with_body(signed(), Body::new(Unread));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = rig.send(request).await;
        assert_eq!(answer.short(), (405, "method-not-allowed".into()), "{method}");
        assert_eq!(answer.headers[header::ALLOW], "POST");
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn row_2_a_compressed_body_is_415() {
    let rig = Rig::new();
    for encoding in ["gzip", "br", "identity, gzip", "", "identityy"] {
        let mut request = with_body(signed(), Body::new(Unread));
        request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        let answer = rig.send(request).await;
        assert_eq!(answer.short(), (415, "content-encoding".into()), "{encoding:?}");
    }
    let mut second_line = with_body(signed(), Body::new(Unread));
    second_line.headers_mut().append(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    second_line.headers_mut().append(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(rig.send(second_line).await.status, 415);

    let mut identity = signed();
    identity.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("Identity"));
    assert_eq!(rig.send(identity).await.status, 200);
}

#[tokio::test]
async fn row_3_without_exactly_one_well_formed_signature_it_is_401_and_the_body_is_not_read() {
    let rig = Rig::new();
    let good = signed().headers()["roomz-signature"].clone();
    let cases: [(&str, Vec<Vec<u8>>); 9] = [
        ("signature-missing", vec![]),
        ("signature-repeated", vec![good.as_bytes().to_vec(), good.as_bytes().to_vec()]),
        ("signature-repeated", vec![good.as_bytes().to_vec(), vec![]]),
        ("signature-malformed", vec![vec![]]),
        ("signature-malformed", vec![[good.as_bytes(), b", ", good.as_bytes()].concat()]),
        ("signature-malformed", vec![[b"sha512=", good.as_bytes()].concat()]),
        ("signature-malformed", vec![vec![0xe9; 88]]),
        ("signature-malformed", vec![vec![b'A'; 8 * 1024]]),
        ("signature-malformed", vec![[&good.as_bytes()[..86], b"= "].concat()]),
    ];
    for (reason, values) in cases {
        let mut request = with_body(signed(), Body::new(Unread));
        request.headers_mut().remove("roomz-signature");
        for value in values {
            request.headers_mut().append("roomz-signature", HeaderValue::from_bytes(&value).unwrap());
        }
        let answer = rig.send(request).await;
        assert_eq!(answer.short(), (401, reason.into()));
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Roomz-Signature");
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn row_3_the_name_of_the_header_can_be_set() {
    let name = http::HeaderName::from_static("x-roomz-signature");
    let rig = Rig::with(|builder| builder.with_signature_header(name), async |_| Ok(StatusCode::OK));
    let answer = rig.send(signed()).await;
    assert_eq!(answer.short(), (401, "signature-missing".into()));
    assert!(answer.text.contains("x-roomz-signature"), "{}", answer.text);
    let mut request = signed();
    let signature = request.headers_mut().remove("roomz-signature").unwrap();
    request.headers_mut().insert("x-roomz-signature", signature);
    assert_eq!(rig.send(request).await.status, 200);
}

#[tokio::test]
async fn row_4_a_length_over_the_cap_is_413_and_the_body_is_not_read() {
    let rig = Rig::new();
    for length in ["262145", "18446744073709551615"] {
        let mut request = with_body(signed(), Body::new(Unread));
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        assert_eq!(rig.send(request).await.short(), (413, "body-too-large".into()), "{length}");
    }
    assert_eq!(rig.store.all_calls(), 0);
}

#[tokio::test]
async fn row_5_the_cap_holds_with_an_honest_a_lying_and_no_length() {
    let rig = Rig::with(|builder| builder.with_body_limit(1_000), async |_| Ok(StatusCode::OK));
    let empty = TestEvent::busy().with("pad", "");
    let fits = empty.clone().with("pad", "x".repeat(1_000 - empty.body().len()));
    assert_eq!(fits.body().len(), 1_000);
    assert_eq!(rig.deliver(&fits).await.status, 200, "exactly the cap is within it");

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
        assert_eq!(rig.send(request).await.short(), (413, "body-too-large".into()), "{length:?}");
    }
    let one_frame = Request::from_parts(head, Body::from(bytes));
    assert_eq!(rig.send(one_frame).await.status, 413);
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn row_5_one_deadline_for_the_whole_body_not_one_for_each_frame() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    let bytes: Vec<Bytes> = event.body().chunks(1).map(Bytes::copy_from_slice).collect();
    let start = Instant::now();
    let a_byte_a_second = with_body(event.request("/", &secret()), slowly(bytes, Duration::from_secs(1)));
    let answer = rig.send(a_byte_a_second).await;
    assert_eq!(answer.short(), (408, "body-timeout".into()));
    assert_eq!(start.elapsed(), Duration::from_secs(10));

    let never = with_body(
        event.request("/", &secret()),
        Body::from_stream(stream::pending::<Result<Bytes, BoxError>>()),
    );
    let start = Instant::now();
    assert_eq!(rig.send(never).await.short(), (408, "body-timeout".into()));
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn row_5_a_body_in_many_slow_frames_within_the_deadline_is_verified() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    let frames: Vec<Bytes> = event.body().chunks(50).map(Bytes::copy_from_slice).collect();
    let slow = with_body(event.request("/", &secret()), slowly(frames, Duration::from_millis(100)));
    assert_eq!(rig.send(slow).await.status, 200);
}

#[tokio::test]
async fn row_5_a_broken_stream_is_400() {
    let rig = Rig::new();
    let frames = [Ok(Bytes::from_static(b"{")), Err(BoxError::from("connection reset"))];
    let broken = with_body(signed(), Body::from_stream(stream::iter(frames)));
    assert_eq!(rig.send(broken).await.short(), (400, "body-broken".into()));
    assert_eq!(rig.store.all_calls(), 0);
}

#[tokio::test]
async fn row_5_a_single_frame_is_not_copied() {
    let body = Bytes::from(TestEvent::busy().body());
    let address = body.as_ptr() as usize;
    let rig = Rig::handling(move |delivery: roomz_webhook::Delivery| {
        assert_eq!(delivery.body().as_ptr() as usize, address, "the very same memory");
        std::future::ready(Ok(StatusCode::OK))
    });
    let request = signed_request::<Body>("/", body.to_vec(), &secret());
    assert_eq!(rig.send(with_body(request, Body::from(body))).await.status, 200);
}

#[tokio::test]
async fn row_6_the_signature_is_compared_under_every_secret_and_the_matching_one_is_told() {
    let secrets = ["new", "old", "older"].map(|text| Secret::new(text).unwrap());
    let positions = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = positions.clone();
    let layer = WebhookLayer::builder(Secrets::new(secrets.clone()).unwrap()).build().unwrap();
    let app = axum::Router::new().route(
        "/",
        axum::routing::post(
            async move |roomz_axum::WebhookDelivery(delivery): roomz_axum::WebhookDelivery| {
                seen.lock().unwrap().push(delivery.secret_position());
            },
        )
        .layer(layer),
    );
    for secret in &secrets {
        let request = TestEvent::busy().request::<Body>("/", secret);
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 200);
    }
    let request = TestEvent::busy().request::<Body>("/", &secret());
    assert_eq!(app.oneshot(request).await.unwrap().status(), 401);
    assert_eq!(*positions.lock().unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn row_7_a_signed_body_that_is_no_event_is_400() {
    let rig = Rig::new();
    let good = String::from_utf8(TestEvent::busy().body()).unwrap();
    let mut invalid_utf8 = good.replacen('{', r#"{"ignored":"?","#, 1).into_bytes();
    invalid_utf8[12] = 0xff;
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        b"null".to_vec(),
        b"[]".to_vec(),
        format!("[{good}]").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good}\0").into_bytes(),
        good.replacen('{', r#"{"\u0069d":"e6ae112e-2af3-4d72-894b-03435d7afde4","#, 1).into_bytes(),
        TestEvent::busy().without("id").body(),
        TestEvent::busy().without("type").body(),
        TestEvent::busy().without("timestamp").body(),
        TestEvent::busy().without("data").body(),
        TestEvent::busy().with("id", 7).body(),
        TestEvent::busy().with("timestamp", "soon").body(),
        invalid_utf8,
    ];
    for body in bodies {
        let answer = rig.deliver_body(&body).await;
        assert_eq!(answer.short(), (400, "event-malformed".into()), "{:?}", String::from_utf8_lossy(&body));
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn row_7_any_nesting_is_taken_without_a_stack_overflow() {
    let rig = Rig::new();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let good = String::from_utf8(TestEvent::busy().body()).unwrap();
    let body = good.replacen('{', &format!("{{\"deep\":{deep},"), 1);
    assert_eq!(rig.deliver_body(body.as_bytes()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn row_8_the_age_of_an_event_is_not_looked_at_by_default() {
    let rig = Rig::new();
    for timestamp in ["0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
        assert_eq!(rig.deliver(&TestEvent::busy().with("timestamp", timestamp)).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn row_8_with_a_maximum_age_older_and_newer_events_are_refused_before_the_store_is_asked() {
    const MAX_AGE: Duration = Duration::from_secs(60);
    const SKEW: Duration = Duration::from_secs(5);
    let now = Timestamp::now();
    let aged = |policy| {
        Rig::with(
            move |builder| {
                let clock = roomz_webhook::testing::ManualClock::at(now);
                builder
                    .with_max_age(MAX_AGE)
                    .with_clock_skew(SKEW)
                    .with_stale_policy(policy)
                    .with_clock(clock)
            },
            async |_| Ok(StatusCode::OK),
        )
    };
    let second = Duration::from_secs(1);
    let cases = [
        (now - MAX_AGE + second, None),
        (now - MAX_AGE - second, Some("event-too-old")),
        (now + SKEW - second, None),
        (now + SKEW + second, Some("event-too-new")),
        ("0001-01-01T00:00:00Z".parse().unwrap(), Some("event-too-old")),
        ("9999-12-30T22:00:00Z".parse().unwrap(), Some("event-too-new")),
    ];
    for (timestamp, refused) in cases {
        let event = TestEvent::busy().with_timestamp(timestamp);
        let rig = aged(StalePolicy::Reject);
        let expected = refused.map_or((200, String::new()), |reason| (400, reason.to_owned()));
        let answer = rig.deliver(&event).await;
        let short = if answer.status == 200 { (200, String::new()) } else { answer.short() };
        assert_eq!(short, expected, "{timestamp}");
        assert_eq!(rig.store.all_calls() > 0, refused.is_none());

        let rig = aged(StalePolicy::Acknowledge);
        let answer = rig.deliver(&event).await;
        assert_eq!((answer.status, answer.skipped), (StatusCode::OK, refused.map(|_| Skipped::Stale)));
        assert_eq!(rig.runs(), usize::from(refused.is_none()));
    }
}

#[tokio::test]
async fn row_9_and_10_a_good_delivery_is_claimed_and_reaches_the_service_with_its_proof() {
    let rig = Rig::handling(async |delivery| {
        assert_eq!((delivery.attempt(), delivery.secret_position()), (1, 0));
        assert_eq!(delivery.event().data, roomz_protocol::Event::parse(delivery.body())?.data);
        Ok(StatusCode::ACCEPTED)
    });
    let answer = rig.deliver(&TestEvent::busy()).await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::ACCEPTED, "handled"));
}

/// Everything is wrong at first; each step mends what the answer complains of, and the next check speaks.
#[tokio::test]
async fn the_checks_come_in_their_order() {
    let rig = Rig::with(
        |builder| builder.with_body_limit(500).with_max_age(Duration::from_secs(60)),
        async |_| Ok(StatusCode::OK),
    );
    let old = TestEvent::busy().with("timestamp", "2024-05-21T08:22:32Z");
    let (mut head, _) = old.request::<Body>("/", &secret()).into_parts();
    let signature = head.headers.remove("roomz-signature").unwrap();
    head.method = Method::GET;
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("501"));
    let long = || Body::from_stream(stream::iter([Ok::<_, BoxError>(Bytes::from(vec![b'x'; 501]))]));
    let wrong = || Body::from("not json");
    let mut said = Vec::new();

    said.push(rig.send(Request::from_parts(head.clone(), long())).await.short());
    head.method = Method::POST;
    said.push(rig.send(Request::from_parts(head.clone(), long())).await.short());
    head.headers.remove(header::CONTENT_ENCODING);
    said.push(rig.send(Request::from_parts(head.clone(), long())).await.short());
    head.headers.insert("roomz-signature", signature);
    said.push(rig.send(Request::from_parts(head.clone(), long())).await.short());
    head.headers.remove(header::CONTENT_LENGTH);
    said.push(rig.send(Request::from_parts(head.clone(), long())).await.short());
    said.push(rig.send(Request::from_parts(head.clone(), wrong())).await.short());
    said.push(rig.deliver_body(b"not json").await.short());
    said.push(rig.send(Request::from_parts(head.clone(), Body::from(old.body()))).await.short());
    assert_eq!(rig.store.all_calls(), 0);
    said.push(rig.deliver(&TestEvent::busy()).await.short());

    let expected = [
        (405, "method-not-allowed"),
        (415, "content-encoding"),
        (401, "signature-missing"),
        (413, "body-too-large"),
        (413, "body-too-large"),
        (401, "signature-mismatch"),
        (400, "event-malformed"),
        (400, "event-too-old"),
        (200, ""),
    ];
    assert_eq!(said, expected.map(|(status, reason)| (status, reason.to_owned())));
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_a_stable_reason_also_in_the_extensions() {
    let rig = Rig::new();
    let mut request = signed();
    request.headers_mut().remove("roomz-signature");
    let answer = rig.send(request).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    let json: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "there is no header `roomz-signature`",
            "reason": "signature-missing",
        })
    );
    let refusal = answer.refusal.unwrap();
    assert_eq!(refusal.kind(), RejectionKind::SignatureMissing);
    assert_eq!((refusal.status(), refusal.reason()), (answer.status, "signature-missing"));
}

#[tokio::test]
async fn the_services_own_error_passes_unchanged_and_a_refusal_is_never_an_error() {
    #[derive(Debug)]
    struct Own(u32);
    let service = tower::service_fn(async |_: Request<roomz_webhook::WebhookBody>| {
        Err::<http::Response<http_body_util::Full<Bytes>>, Own>(Own(7))
    });
    let layer = WebhookLayer::builder(secret()).build().unwrap();
    let service = tower::Layer::layer(&layer, service);
    let error = service.clone().oneshot(signed()).await.unwrap_err();
    assert_eq!(error.0, 7);
    let refused = service.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 405);
}

#[tokio::test]
async fn another_path_passes_through_unread_and_streaming() {
    let layer = WebhookLayer::builder(secret()).with_path("/hook").build().unwrap();
    let service = tower::service_fn(async |request: Request<roomz_webhook::WebhookBody>| {
        // Answers before the body, which never ends, is read: it streams back.
        assert!(request.extensions().get::<roomz_webhook::Delivery>().is_none());
        Ok::<_, std::convert::Infallible>(http::Response::new(request.into_body()))
    });
    let service = tower::Layer::layer(&layer, service);
    let endless = Body::from_stream(stream::repeat_with(|| Ok::<_, BoxError>(Bytes::from_static(b"x"))));
    for path in ["/", "/hook/", "/hook/x", "/Hook", "/%68ook", "/other?x=/hook"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200, "{path}");
    }
    let response = service.clone().oneshot(Request::put("/stream").body(endless).unwrap()).await.unwrap();
    let mut body = response.into_body();
    for _ in 0..10 {
        let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "x");
    }
    for path in ["/hook", "/hook?query", "http://host/hook"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 405, "{path}");
    }
}
