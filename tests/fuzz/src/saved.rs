//! Saved deliveries: whatever is saved is read again as it was, and the error of a line quotes nothing.

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::saved_delivery::SavedDelivery;

#[allow(dead_code, reason = "a module of the command")]
#[path = "../../../crates/roomz-cli/src/escape.rs"]
mod escape;
#[allow(dead_code, unreachable_pub, reason = "a module of the command")]
#[path = "../../../crates/roomz-cli/src/saved_delivery.rs"]
mod saved_delivery;

#[derive(Arbitrary)]
struct Saved<'a> {
    received: &'a str,
    path: &'a str,
    verified: Option<bool>,
    headers: Vec<(u8, &'a [u8])>,
    body: &'a [u8],
}

pub fn run(input: &[u8]) {
    if let Some(saved) = crate::generate::<Saved<'_>>(input) {
        let headers = saved.headers.iter().filter_map(|(index, value)| {
            let names = ["roomz-signature", "content-type", "user-agent", "x-other"];
            Some((
                HeaderName::from_static(names[usize::from(*index) % 4]),
                HeaderValue::try_from(*value).ok()?,
            ))
        });
        let headers: HeaderMap = headers.collect();
        assert_round_trip(&SavedDelivery {
            received: saved.received.to_owned(),
            path: saved.path.to_owned(),
            verified: saved.verified,
            headers: SavedDelivery::select_headers(&headers),
            body: Bytes::copy_from_slice(saved.body),
        });
        assert_escaped(saved.path);
        return;
    }
    match SavedDelivery::from_line(input) {
        Ok(delivery) => assert_round_trip(&delivery),
        Err(error) => {
            let is_plain = |c: char| (' '..='~').contains(&c);
            assert!(error.len() < 100 && error.chars().all(is_plain), "{error}");
        }
    }
    assert_escaped(&String::from_utf8_lossy(input));
}

fn assert_round_trip(saved: &SavedDelivery) {
    let line = serde_json::to_string(saved).unwrap();
    assert!(!line.contains('\n'), "a delivery is one line");
    let read = SavedDelivery::from_line(line.as_bytes()).unwrap();
    assert_eq!((&read.received, &read.path, read.verified), (&saved.received, &saved.path, saved.verified));
    assert_eq!((read.headers, read.body), (saved.headers.clone(), saved.body.clone()), "{line}");
}

fn assert_escaped(text: &str) {
    for escaped in [escape::escape(text), escape::escape_truncated(text, 40)] {
        assert!(!escaped.contains(char::is_control), "{escaped:?}");
    }
    // Numbers are read again from their text, because serde_json rounds some of them otherwise at first.
    let read = |json: &str| serde_json::from_str::<serde_json::Value>(json);
    if let Ok(compact) = read(text).map(|value| value.to_string()) {
        assert_eq!(read(&escape::escape_json(&compact)).unwrap(), read(&compact).unwrap());
    }
}
