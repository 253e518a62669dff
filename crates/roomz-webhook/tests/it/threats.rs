//! Forged bodies and signatures. `checks` has the attacks on headers, sizes and JSON; `sockets` those on
//! connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{HeaderValue, Request};
use roomz_webhook::testing::TestEvent;
use tower::ServiceExt as _;

use crate::support::{TestReceiver, rounds, secret};

fn with_signature(event: &TestEvent, signature: &[u8]) -> Request<Body> {
    let mut request = event.request("/", &secret());
    request.headers_mut().insert("roomz-signature", HeaderValue::from_bytes(signature).unwrap());
    request
}

#[tokio::test]
async fn rejects_signature_with_any_bit_flipped() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    let valid = STANDARD.decode(secret().sign(&event.body()).to_base64()).unwrap();
    for bit in 0..512 {
        let mut forged = valid.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let response = receiver.send(with_signature(&event, STANDARD.encode(forged).as_bytes())).await;
        assert_eq!(response.outcome(), (401, "signature-mismatch".into()), "bit {bit}");
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

#[tokio::test]
async fn rejects_body_with_any_bit_flipped() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    let body = event.body();
    for bit in 0..body.len() * 8 {
        let mut forged = body.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let request = event.request::<Body>("/", &secret()).map(|_| Body::from(forged));
        assert_eq!(receiver.send(request).await.outcome(), (401, "signature-mismatch".into()), "bit {bit}");
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

#[tokio::test]
async fn rejects_truncated_and_extended_body() {
    let receiver = TestReceiver::new();
    let event = TestEvent::busy();
    let body = event.body();
    let longer = [&body[..], b" "].concat();
    for length in (0..body.len()).chain([body.len() + 1]) {
        let forged = longer[..length].to_vec();
        let request = event.request::<Body>("/", &secret()).map(|_| Body::from(forged));
        assert_eq!(receiver.send(request).await.status, 401, "{length} bytes");
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

/// Every prefix, and every other encoding of the same bytes.
#[tokio::test]
async fn rejects_other_encodings_of_signature() {
    let receiver = TestReceiver::new();
    // The signature contains both characters that differ between the base64 alphabets.
    let (event, valid) = std::iter::repeat_with(TestEvent::busy)
        .map(|event| (event.clone(), secret().sign(&event.body()).to_base64()))
        .find(|(_, signature)| signature.contains('+') && signature.contains('/'))
        .unwrap();
    let bytes = STANDARD.decode(&valid).unwrap();
    let mut variants: Vec<Vec<u8>> =
        (0..valid.len()).map(|length| valid.as_bytes()[..length].to_vec()).collect();
    variants.extend([
        URL_SAFE.encode(&bytes).into_bytes(),
        valid.trim_end_matches('=').as_bytes().to_vec(),
        format!("{valid}=").into_bytes(),
        format!("{valid}\t").into_bytes(),
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes(),
        STANDARD.encode(&valid).into_bytes(),
        STANDARD.encode(&bytes[..32]).into_bytes(),
        format!("sha512={valid}").into_bytes(),
        format!("{valid},{valid}").into_bytes(),
        valid.to_lowercase().into_bytes(),
    ]);
    // The same 64 bytes, with non-zero padding bits.
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars() {
        if !valid[..86].ends_with(other) {
            variants.push(format!("{}{other}==", &valid[..85]).into_bytes());
        }
    }
    for variant in &variants {
        let response = receiver.send(with_signature(&event, variant)).await;
        assert_eq!(response.status, 401, "{}", String::from_utf8_lossy(variant));
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
    assert_eq!(receiver.send(with_signature(&event, valid.as_bytes())).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_requests_never_reach_store() {
    const TASKS: usize = 4;
    let per_task = rounds(100_000, 1_000_000) / TASKS;
    let receiver = TestReceiver::new();
    let rejected = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (service, rejected) = (receiver.service(), rejected.clone());
            let forged = HeaderValue::try_from(STANDARD.encode([task as u8; 64])).unwrap();
            tokio::spawn(async move {
                for round in 0..per_task {
                    let body = format!(
                        r#"{{"id":"00000000-0000-{task:04}-0000-{round:012}","type":"workspace.presence.changed","timestamp":"2024-05-21T08:22:32Z","data":{{}}}}"#,
                    );
                    let mut request = Request::post("/").body(Body::from(body)).unwrap();
                    request.headers_mut().insert("roomz-signature", forged.clone());
                    let response = service.clone().oneshot(request).await.unwrap();
                    rejected.fetch_add(usize::from(response.status() == 401), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(rejected.load(Ordering::Relaxed), per_task * TASKS);
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}
