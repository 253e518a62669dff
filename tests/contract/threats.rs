//! Section 4: threats that show without a socket. Those of headers, sizes and JSON are in `checks`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::{HeaderValue, Request};
use roomz_tests::{Rig, secret};
use roomz_webhook::testing::TestEvent;

fn with_signature(event: &TestEvent, signature: &[u8]) -> Request<Body> {
    let mut request = event.request("/", &secret());
    request.headers_mut().insert("roomz-signature", HeaderValue::from_bytes(signature).unwrap());
    request
}

#[tokio::test]
async fn every_bit_of_the_signature_counts() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    let good = STANDARD.decode(secret().sign(&event.body()).to_base64()).unwrap();
    for bit in 0..512 {
        let mut forged = good.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let answer = rig.send(with_signature(&event, STANDARD.encode(forged).as_bytes())).await;
        assert_eq!(answer.short(), (401, "signature-mismatch".into()), "bit {bit}");
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn every_bit_of_the_body_counts() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    let body = event.body();
    for bit in 0..body.len() * 8 {
        let mut forged = body.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let request = event.request::<Body>("/", &secret()).map(|_| Body::from(forged));
        assert_eq!(rig.send(request).await.short(), (401, "signature-mismatch".into()), "bit {bit}");
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn every_truncation_and_extension_of_the_body_is_refused() {
    let rig = Rig::new();
    let event = TestEvent::busy();
    let body = event.body();
    let longer = [&body[..], b" "].concat();
    for length in (0..body.len()).chain([body.len() + 1]) {
        let forged = longer[..length].to_vec();
        let request = event.request::<Body>("/", &secret()).map(|_| Body::from(forged));
        assert_eq!(rig.send(request).await.status, 401, "{length} bytes");
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn every_prefix_and_every_other_encoding_of_the_signature_is_refused() {
    let rig = Rig::new();
    // A signature with both characters in which the alphabets differ.
    let (event, good) = std::iter::repeat_with(TestEvent::busy)
        .map(|event| (event.clone(), secret().sign(&event.body()).to_base64()))
        .find(|(_, signature)| signature.contains('+') && signature.contains('/'))
        .unwrap();
    let bytes = STANDARD.decode(&good).unwrap();
    let mut variants: Vec<Vec<u8>> =
        (0..good.len()).map(|length| good.as_bytes()[..length].to_vec()).collect();
    variants.extend([
        URL_SAFE.encode(&bytes).into_bytes(),
        good.trim_end_matches('=').as_bytes().to_vec(),
        format!("{good}=").into_bytes(),
        format!("{good}\t").into_bytes(),
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes(),
        STANDARD.encode(&good).into_bytes(),
        STANDARD.encode(&bytes[..32]).into_bytes(),
        format!("sha512={good}").into_bytes(),
        format!("{good},{good}").into_bytes(),
        good.to_lowercase().into_bytes(),
    ]);
    // The same 64 bytes with non-zero bits after the last one.
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars() {
        if !good[..86].ends_with(other) {
            variants.push(format!("{}{other}==", &good[..85]).into_bytes());
        }
    }
    for variant in &variants {
        let answer = rig.send(with_signature(&event, variant)).await;
        assert_eq!(answer.status, 401, "{}", String::from_utf8_lossy(variant));
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
    assert_eq!(rig.send(with_signature(&event, good.as_bytes())).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_forged_requests_with_fresh_ids_never_touch_the_store() {
    const TASKS: usize = 4;
    let rig = Rig::new();
    let refused = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (app, refused) = (rig.app(), refused.clone());
            let forged = HeaderValue::try_from(STANDARD.encode([task as u8; 64])).unwrap();
            tokio::spawn(async move {
                for round in 0..1_000_000 / TASKS {
                    let body = format!(
                        r#"{{"id":"00000000-0000-{task:04}-0000-{round:012}","type":"workspace.presence.changed","timestamp":"2024-05-21T08:22:32Z","data":{{}}}}"#,
                    );
                    let mut request = Request::post("/").body(Body::from(body)).unwrap();
                    request.headers_mut().insert("roomz-signature", forged.clone());
                    let answer = tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
                    refused.fetch_add(usize::from(answer.status() == 401), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(refused.load(Ordering::Relaxed), 1_000_000);
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}
