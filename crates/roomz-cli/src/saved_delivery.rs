//! A line of the file that `listen --save` writes: a JSON object.
//!
//! ```json
//! {"received":"2024-05-21T08:22:32.452Z","path":"/webhooks/roomz","verified":true,
//!  "headers":[{"name":"roomz-signature","value":"…"}],"body":"{…}"}
//! ```
//!
//! `verified` is null when there was no secret to verify with. A body that is not UTF-8 is stored as base64,
//! in `body_base64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The headers that are saved: those that a receiver reads, and the sender's name.
const SAVED_HEADERS: [&str; 5] =
    [roomz_protocol::SIGNATURE_HEADER, "x-roomz-signature", "content-type", "content-encoding", "user-agent"];

/// One delivery as it was received.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedDelivery {
    pub(crate) received: String,
    pub(crate) path: String,
    /// Whether the signature was correct when the delivery was received; `None` when it was not verified.
    pub(crate) verified: Option<bool>,
    /// Only [`SAVED_HEADERS`]; a repeated header is kept as often as it was received.
    #[serde(serialize_with = "serialize_headers", deserialize_with = "deserialize_headers")]
    pub(crate) headers: HeaderMap,
    #[serde(flatten, serialize_with = "serialize_body", deserialize_with = "deserialize_body")]
    pub(crate) body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct SavedHeader {
    name: String,
    /// In Latin-1, which has a character for every byte.
    value: String,
}

#[derive(Deserialize)]
enum SavedBody {
    #[serde(rename = "body")]
    Text(String),
    #[serde(rename = "body_base64")]
    Base64(String),
}

impl SavedDelivery {
    /// Returns the headers of a request that are saved.
    pub(crate) fn select_headers(headers: &HeaderMap) -> HeaderMap {
        let selected = headers.iter().filter(|(name, _)| SAVED_HEADERS.contains(&name.as_str()));
        selected.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Parses one line. The error describes the problem without quoting the line, which may contain a
    /// signature.
    pub(crate) fn from_line(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| match error.to_string() {
            text if text.starts_with("missing field") => text,
            _ if error.is_data() => "not a saved delivery, or a member has a wrong value".to_owned(),
            _ => format!("not JSON (column {}): the line may be cut, as after a full disk", error.column()),
        })
    }
}

fn serialize_headers<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(headers.iter().map(|(name, value)| SavedHeader {
        name: name.to_string(),
        value: value.as_bytes().iter().copied().map(char::from).collect(),
    }))
}

fn deserialize_headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    let headers = Vec::<SavedHeader>::deserialize(deserializer)?.into_iter().map(|header| {
        let value: Vec<u8> = header.value.chars().map(u8::try_from).collect::<Result<_, _>>().ok()?;
        Some((header.name.parse::<HeaderName>().ok()?, HeaderValue::try_from(value).ok()?))
    });
    headers.collect::<Option<_>>().ok_or_else(|| D::Error::custom("invalid header"))
}

/// The member of a JSON object for a body: UTF-8 as `body` and other bytes as `body_base64`.
pub(crate) fn body_member(body: &[u8]) -> (&'static str, String) {
    match std::str::from_utf8(body) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_base64", STANDARD.encode(body)),
    }
}

fn serialize_body<S: Serializer>(body: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map([body_member(body)])
}

fn deserialize_body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    match SavedBody::deserialize(deserializer)? {
        SavedBody::Text(text) => Ok(text.into()),
        SavedBody::Base64(text) => STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_any_bytes() {
        let mut headers = HeaderMap::new();
        headers.append("roomz-signature", "one".parse().unwrap());
        headers.append("roomz-signature", HeaderValue::from_bytes(b"tw\xf6").unwrap());
        headers.append("user-agent", "ü".parse().unwrap());
        for body in
            [&b""[..], b"{}\r\n", "\u{202e}\u{0}\u{1b}ü".as_bytes(), b"\xff\xfe\x00", "\u{feff}{}".as_bytes()]
        {
            let saved = SavedDelivery {
                received: "2024-05-21T08:22:32.452Z".to_owned(),
                path: "/a?b".to_owned(),
                verified: Some(false),
                headers: headers.clone(),
                body: Bytes::copy_from_slice(body),
            };
            let line = serde_json::to_string(&saved).unwrap();
            assert!(!line.contains('\n'));
            let read = SavedDelivery::from_line(line.as_bytes()).unwrap();
            assert_eq!(
                (read.body, read.headers, read.path, read.verified),
                (saved.body, saved.headers, saved.path, saved.verified),
                "{line}"
            );
        }
    }

    #[test]
    fn verified_may_be_missing_or_null() {
        let line =
            |verified: &str| format!(r#"{{"received":"","path":"/","headers":[],"body":""{verified}}}"#);
        for (member, verified) in [
            ("", None),
            (r#","verified":null"#, None),
            (r#","verified":true"#, Some(true)),
            (r#","verified":false"#, Some(false)),
        ] {
            assert_eq!(SavedDelivery::from_line(line(member).as_bytes()).unwrap().verified, verified);
        }
        assert!(SavedDelivery::from_line(line(r#","verified":"yes""#).as_bytes()).is_err());
    }

    #[test]
    fn line_error_names_problem_without_quoting() {
        let line = |members: &str| format!(r#"{{"received":"","path":"",{members}}}"#);
        for (line, problem) in [
            ("canary".to_owned(), "not JSON"),
            (line(r#""headers":[],"body":"canary"#), "not JSON"),
            ("[\"canary\"]".to_owned(), "not a saved delivery"),
            (r#"{"path":"canary"}"#.to_owned(), "missing field `received`"),
            (line(r#""body":"canary""#), "missing field `headers`"),
            (line(r#""headers":[]"#), "a member has a wrong value"),
            (line(r#""headers":[{"name":"canary\n","value":"a"}],"body":"""#), "a member has a wrong value"),
            (line(r#""headers":[{"name":"a","value":"canary\n"}],"body":"""#), "a member has a wrong value"),
            (line(r#""headers":[{"name":"a","value":"canary€"}],"body":"""#), "a member has a wrong value"),
            (line(r#""headers":[],"body_base64":"canary!""#), "a member has a wrong value"),
            (line(r#""headers":"canary","body":7"#), "a member has a wrong value"),
        ] {
            let error = SavedDelivery::from_line(line.as_bytes()).unwrap_err();
            assert!(error.contains(problem) && !error.contains("canary"), "{line}: {error}");
        }
    }
}
