//! Property tests: any changed delivery is rejected before the store is called.

use axum::body::Body;
use http::{HeaderValue, Request};
use proptest::prelude::*;
use roomz_protocol::testing::signed_request;
use roomz_webhook::Secret;
use roomz_webhook::testing::TestEvent;

use crate::support::{TestReceiver, secret};

fn send(receiver: &TestReceiver, request: Request<Body>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(receiver.send(request)).outcome()
}

proptest! {
    /// One bit of the body, the secret or the signature is flipped.
    #[test]
    fn rejects_any_flipped_bit(
        status in "\\PC{0,20}", note in "\\PC{0,40}", part in 0..3, at: prop::sample::Index, bit in 0..8u8,
    ) {
        let receiver = TestReceiver::new();
        let event = TestEvent::presence(&status).with("note", note);
        let mut body = event.body();
        let mut key = b"the webhook secret".to_vec();
        if part == 0 {
            let at = at.index(body.len());
            body[at] ^= 1u8 << bit;
        } else if part == 1 {
            let at = at.index(key.len());
            key[at] ^= 1u8 << bit;
        }
        // The changed secret may be invalid. Then nothing can be signed with it.
        let Ok(secret) = Secret::new(&key) else { return Ok(()) };
        let original = event.body();
        let mut request = signed_request::<Body>("/", original, &secret).map(|_| Body::from(body));
        if part == 2 {
            let mut signature = request.headers()["roomz-signature"].as_bytes().to_vec();
            let at = at.index(signature.len());
            signature[at] ^= 1u8 << bit;
            let Ok(signature) = HeaderValue::from_bytes(&signature) else { return Ok(()) };
            request.headers_mut().insert("roomz-signature", signature);
        }
        let (status, reason) = send(&receiver, request);
        prop_assert_eq!(status, 401, "{}", reason);
        prop_assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
    }

    #[test]
    fn rejects_signed_arbitrary_bytes(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let receiver = TestReceiver::new();
        let request = signed_request::<Body>("/", body, &secret());
        prop_assert_eq!(send(&receiver, request), (400, "event-malformed".to_owned()));
        prop_assert_eq!(receiver.store.total_calls(), 0);
    }

    #[test]
    fn accepts_signed_event_with_any_text(
        status in "\\PC{0,20}", kind in "\\PC{0,20}", key in "[a-z]{1,8}_", value in "\\PC{0,40}",
    ) {
        let receiver = TestReceiver::new();
        let event = TestEvent::presence(&status).with_type(&kind).with(&key, value);
        let request = event.request::<Body>("/", &secret());
        prop_assert_eq!(send(&receiver, request).0, 200);
        prop_assert_eq!(receiver.runs(), 1);
    }
}
