//! Whatever is changed about a delivery, it is refused, and the store is not asked.

use axum::body::Body;
use http::{HeaderValue, Request};
use proptest::prelude::*;
use roomz_protocol::testing::signed_request;
use roomz_tests::Rig;
use roomz_webhook::Secret;
use roomz_webhook::testing::TestEvent;

fn send(rig: &Rig, request: Request<Body>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(rig.send(request)).short()
}

proptest! {
    #[test]
    fn a_flipped_bit_of_body_or_signature_or_secret_is_401(
        status in "\\PC{0,20}", note in "\\PC{0,40}", what in 0..3, at: prop::sample::Index, bit in 0..8u8,
    ) {
        let rig = Rig::new();
        let event = TestEvent::presence(&status).with("note", note);
        let mut body = event.body();
        let mut key = b"the webhook secret".to_vec();
        if what == 0 {
            let at = at.index(body.len());
            body[at] ^= 1u8 << bit;
        } else if what == 1 {
            let at = at.index(key.len());
            key[at] ^= 1u8 << bit;
        }
        // A changed secret can be one that is refused; then there is nothing to sign with.
        let Ok(secret) = Secret::new(&key) else { return Ok(()) };
        let original = event.body();
        let mut request = signed_request::<Body>("/", original, &secret).map(|_| Body::from(body));
        if what == 2 {
            let mut signature = request.headers()["roomz-signature"].as_bytes().to_vec();
            let at = at.index(signature.len());
            signature[at] ^= 1u8 << bit;
            let Ok(signature) = HeaderValue::from_bytes(&signature) else { return Ok(()) };
            request.headers_mut().insert("roomz-signature", signature);
        }
        let (status, reason) = send(&rig, request);
        prop_assert_eq!(status, 401, "{}", reason);
        prop_assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
    }

    #[test]
    fn a_signed_body_of_any_bytes_is_400_and_never_a_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let rig = Rig::new();
        let request = signed_request::<Body>("/", body, &roomz_tests::secret());
        prop_assert_eq!(send(&rig, request), (400, "event-malformed".to_owned()));
        prop_assert_eq!(rig.store.all_calls(), 0);
    }

    #[test]
    fn a_signed_event_is_handled_whatever_else_it_holds(
        status in "\\PC{0,20}", kind in "\\PC{0,20}", key in "[a-z]{1,8}_", value in "\\PC{0,40}",
    ) {
        let rig = Rig::new();
        let event = TestEvent::presence(&status).with_type(&kind).with(&key, value);
        let request = event.request::<Body>("/", &roomz_tests::secret());
        prop_assert_eq!(send(&rig, request).0, 200);
        prop_assert_eq!(rig.runs(), 1);
    }
}
