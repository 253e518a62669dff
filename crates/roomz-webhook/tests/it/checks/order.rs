//! Checks 9 and 10, the order of all checks, and the form of a rejection.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use roomz_protocol::testing::signed_request;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Delivery, RejectionKind, Secret, StalePolicy, WebhookBody, WebhookLayer};
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

use super::signed;
use crate::support::{TestReceiver, secret};

/// The handler receives the `Delivery`.
#[tokio::test]
async fn valid_delivery_reaches_handler() {
    let receiver = TestReceiver::with_handler(async |delivery| {
        assert_eq!((delivery.attempt(), delivery.secret_position()), (1, 0));
        assert_eq!(delivery.event().data, roomz_protocol::Event::parse(delivery.body())?.data);
        Ok(StatusCode::ACCEPTED)
    });
    let response = receiver.deliver(&TestEvent::busy()).await;
    assert_eq!((response.status, response.body.as_str()), (StatusCode::ACCEPTED, "handled"));
}

/// Every check fails at first. Each step corrects what the response reports, so that the next check fails.
#[tokio::test]
async fn checks_run_in_order() {
    let receiver = TestReceiver::with(
        |builder| builder.with_body_limit(500).with_max_age(Duration::from_secs(60), StalePolicy::Reject),
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
    let mut outcomes = Vec::new();

    outcomes.push(receiver.send(Request::from_parts(head.clone(), long())).await.outcome());
    head.method = Method::POST;
    outcomes.push(receiver.send(Request::from_parts(head.clone(), long())).await.outcome());
    head.headers.remove(header::CONTENT_ENCODING);
    outcomes.push(receiver.send(Request::from_parts(head.clone(), long())).await.outcome());
    head.headers.insert("roomz-signature", signature);
    outcomes.push(receiver.send(Request::from_parts(head.clone(), long())).await.outcome());
    head.headers.remove(header::CONTENT_LENGTH);
    outcomes.push(receiver.send(Request::from_parts(head.clone(), long())).await.outcome());
    outcomes.push(receiver.send(Request::from_parts(head.clone(), wrong())).await.outcome());
    outcomes.push(receiver.deliver_body(b"not json").await.outcome());
    outcomes.push(receiver.send(Request::from_parts(head.clone(), Body::from(old.body()))).await.outcome());
    assert_eq!(receiver.store.total_calls(), 0);
    outcomes.push(receiver.deliver(&TestEvent::busy()).await.outcome());

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
    assert_eq!(outcomes, expected.map(|(status, reason)| (status, reason.to_owned())));
}

/// The same rejection is in the extensions of the response.
#[tokio::test]
async fn rejection_is_problem_json() {
    let receiver = TestReceiver::new();
    let mut request = signed();
    request.headers_mut().remove("roomz-signature");
    let response = receiver.send(request).await;
    assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json");
    let json: serde_json::Value = serde_json::from_str(&response.body).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "the header `roomz-signature` is missing",
            "reason": "signature-missing",
        })
    );
    let rejection = response.rejection.unwrap();
    assert_eq!(rejection.kind(), RejectionKind::SignatureMissing);
    assert_eq!((rejection.status(), rejection.kind().as_str()), (response.status, "signature-missing"));
}

/// HTTP/2 has no connection header.
#[tokio::test]
async fn only_http_1_rejection_closes_connection() {
    let receiver = TestReceiver::new();
    for (version, expected) in [(Version::HTTP_10, true), (Version::HTTP_11, true), (Version::HTTP_2, false)]
    {
        let mut request = signed();
        request.headers_mut().remove("roomz-signature");
        *request.version_mut() = version;
        let response = receiver.send(request).await;
        assert_eq!(response.headers.contains_key(header::CONNECTION), expected, "{version:?}");
    }
}

/// Also if the body does not know where it ends.
#[tokio::test]
async fn rejection_of_read_body_keeps_connection() {
    let receiver = TestReceiver::new();
    for (secret, outcome) in [
        (secret(), (400, "event-malformed".into())),
        (Secret::new("another secret").unwrap(), (401, "signature-mismatch".into())),
    ] {
        let request = signed_request("/", b"[]".to_vec(), &secret).map(|body: Vec<u8>| {
            let body = Body::from_stream(stream::iter([Ok::<_, BoxError>(Bytes::from(body))]));
            assert!(!body.is_end_stream());
            body
        });
        let response = receiver.send(request).await;
        assert_eq!(response.outcome(), outcome);
        assert!(!response.headers.contains_key(header::CONNECTION), "{outcome:?}");
    }
}

/// A rejection is a response, never an error.
#[tokio::test]
async fn passes_service_error_unchanged() {
    #[derive(Debug)]
    struct ServiceError(u32);
    let service =
        service_fn(async |_: Request<WebhookBody>| Err::<Response<Full<Bytes>>, _>(ServiceError(7)));
    let layer = WebhookLayer::builder(secret()).build().unwrap();
    let service = layer.layer(service);
    let error = service.clone().oneshot(signed()).await.unwrap_err();
    assert_eq!(error.0, 7);
    let rejected = service.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(rejected.status(), 405);
}

/// Requests and responses to other paths are streamed.
#[tokio::test]
async fn passes_other_paths_unread() {
    let layer = WebhookLayer::builder(secret()).with_path("/hook").build().unwrap();
    let service = service_fn(async |request: Request<WebhookBody>| {
        // The response is sent before the endless body is read: it streams the body back.
        assert!(request.extensions().get::<Delivery>().is_none());
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = layer.layer(service);
    let endless = Body::from_stream(stream::repeat_with(|| Ok::<_, BoxError>(Bytes::from_static(b"x"))));
    for path in ["/", "/hook/", "/hook/x", "/Hook", "/%68ook", "/other?x=/hook"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200, "{path}");
    }
    let response = service.clone().oneshot(Request::put("/stream").body(endless).unwrap()).await.unwrap();
    let mut body = response.into_body();
    for _ in 0..10 {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "x");
    }
    for path in ["/hook", "/hook?query", "http://host/hook"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 405, "{path}");
    }
}
