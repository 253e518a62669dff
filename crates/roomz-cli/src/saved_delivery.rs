//! The file format that `listen --save` writes and `replay` reads: one JSON object per line.
//!
//! ```json
//! {"received":"2024-05-21T08:22:32.452Z","method":"POST","path":"/webhooks/roomz",
//!  "verified":true,"headers":[{"name":"roomz-signature","value":"…"}],"body":"{…}"}
//! ```
//!
//! `verified` is null when there was no secret to verify with. Files of older versions do not have it.
//!
//! Bytes that are not UTF-8 are stored as base64, in `body_base64` and `value_base64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};

/// The headers that are saved: those that a receiver reads, and the sender's name.
const SAVED_HEADERS: [&str; 5] =
    [roomz_protocol::SIGNATURE_HEADER, "x-roomz-signature", "content-type", "content-encoding", "user-agent"];

/// One delivery as it was received.
#[derive(Debug)]
pub(crate) struct SavedDelivery {
    pub(crate) received: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Whether the signature was correct when the delivery was received; `None` when it was not verified.
    pub(crate) verified: Option<bool>,
    /// Only [`SAVED_HEADERS`]; a repeated header is kept as often as it was received.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl SavedDelivery {
    /// Returns the headers of a request that are saved.
    pub(crate) fn select_headers(headers: &HeaderMap) -> HeaderMap {
        let mut selected = HeaderMap::new();
        for name in SAVED_HEADERS {
            for value in headers.get_all(name) {
                selected.append(name, value.clone());
            }
        }
        selected
    }

    pub(crate) fn to_json(&self) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let mut header = Map::from_iter([("name".to_owned(), json!(name.as_str()))]);
                insert_bytes(&mut header, "value", value.as_bytes());
                Value::Object(header)
            })
            .collect();
        let mut object = Map::from_iter([
            ("received".to_owned(), json!(self.received)),
            ("method".to_owned(), json!(self.method.as_str())),
            ("path".to_owned(), json!(self.path)),
            ("verified".to_owned(), json!(self.verified)),
            ("headers".to_owned(), Value::Array(headers)),
        ]);
        insert_bytes(&mut object, "body", &self.body);
        Value::Object(object)
    }

    /// Parses one line. The error describes the problem without quoting the line, which may contain a signature.
    pub(crate) fn from_line(line: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| json_problem(&error))?;
        let object = value.as_object().ok_or_else(|| "not a JSON object".to_owned())?;
        let text = |key: &str| match object.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("member {key:?} is not a string")),
            None => Err(format!("member {key:?} is missing")),
        };
        let method =
            text("method")?.parse().map_err(|_| "member \"method\" is not an HTTP method".to_owned())?;
        let verified = match object.get("verified") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(verified)) => Some(*verified),
            Some(_) => return Err("member \"verified\" is not true, false or null".to_owned()),
        };
        let headers = object.get("headers").and_then(Value::as_array);
        let headers = headers.ok_or_else(|| "member \"headers\" is missing or not an array".to_owned())?;
        Ok(Self {
            received: text("received")?,
            method,
            path: text("path")?,
            verified,
            headers: headers.iter().map(parse_header).collect::<Result<_, _>>()?,
            body: get_bytes(object, "body")?.into(),
        })
    }
}

/// Describes a JSON error without the words of the parser.
fn json_problem(error: &serde_json::Error) -> String {
    if error.is_eof() {
        "not JSON: the line ends too early, as after a full disk".to_owned()
    } else {
        format!("not JSON (column {})", error.column())
    }
}

fn parse_header(value: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let object = value.as_object().ok_or_else(|| "a header is not an object".to_owned())?;
    let name = object.get("name").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let name = name.ok_or_else(|| "a header has no valid name".to_owned())?;
    let value = HeaderValue::try_from(get_bytes(object, "value")?)
        .map_err(|_| format!("the value of the header {name} is invalid in HTTP"))?;
    Ok((name, value))
}

/// Inserts UTF-8 as `key` and other bytes as `key_base64`.
pub(crate) fn insert_bytes(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    let (key, text) = match std::str::from_utf8(bytes) {
        Ok(text) => (key.to_owned(), text.to_owned()),
        Err(_) => (format!("{key}_base64"), STANDARD.encode(bytes)),
    };
    object.insert(key, Value::String(text));
}

/// Reads what [`insert_bytes`] inserted.
fn get_bytes(object: &Map<String, Value>, key: &str) -> Result<Vec<u8>, String> {
    let base64_key = format!("{key}_base64");
    match (object.get(key), object.get(&base64_key)) {
        (Some(Value::String(text)), None) => Ok(text.clone().into_bytes()),
        (None, Some(Value::String(text))) => {
            STANDARD.decode(text).map_err(|_| format!("member {base64_key:?} is not base64"))
        }
        (None, None) => Err(format!("member {key:?} or {base64_key:?} is missing")),
        (Some(_), Some(_)) => Err(format!("both {key:?} and {base64_key:?} are present")),
        _ => Err(format!("member {key:?} or {base64_key:?} is not a string")),
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
        for body in
            [&b""[..], b"{}\r\n", "\u{202e}\u{0}\u{1b}ü".as_bytes(), b"\xff\xfe\x00", "\u{feff}{}".as_bytes()]
        {
            let saved = SavedDelivery {
                received: "2024-05-21T08:22:32.452Z".to_owned(),
                method: Method::POST,
                path: "/a?b".to_owned(),
                verified: Some(false),
                headers: headers.clone(),
                body: Bytes::copy_from_slice(body),
            };
            let line = saved.to_json().to_string();
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
        let line = |verified: &str| {
            format!(r#"{{"received":"","method":"POST","path":"/","headers":[],"body":""{verified}}}"#)
        };
        for (member, verified) in [
            ("", None),
            (r#","verified":null"#, None),
            (r#","verified":true"#, Some(true)),
            (r#","verified":false"#, Some(false)),
        ] {
            assert_eq!(SavedDelivery::from_line(line(member).as_bytes()).unwrap().verified, verified);
        }
        let error = SavedDelivery::from_line(line(r#","verified":"yes""#).as_bytes()).unwrap_err();
        assert_eq!(error, "member \"verified\" is not true, false or null");
    }

    #[test]
    fn line_error_names_problem_without_quoting() {
        for (line, problem) in [
            ("canary", "not JSON"),
            ("[\"canary\"]", "not a JSON object"),
            (r#"{"method":"canary x"}"#, "not an HTTP method"),
            (r#"{"method":"POST"}"#, "member \"headers\" is missing"),
            (r#"{"method":"POST","headers":[1],"received":"","path":""}"#, "not an object"),
            (r#"{"method":"POST","headers":[{"name":"a\nb"}],"received":"","path":""}"#, "no valid name"),
            (
                r#"{"method":"POST","headers":[{"name":"a","value":"\n"}],"received":"","path":""}"#,
                "value of the header a",
            ),
            (r#"{"method":"POST","headers":[],"received":"","path":""}"#, "member \"body\" or"),
            (
                r#"{"method":"POST","headers":[],"received":"","path":"","body":"a","body_base64":""}"#,
                "both \"body\" and",
            ),
            (
                r#"{"method":"POST","headers":[],"received":"","path":"","body_base64":"canary!"}"#,
                "is not base64",
            ),
            (r#"{"method":"POST","headers":[],"received":"","path":"","body":7}"#, "is not a string"),
            (r#"{"method":"POST","headers":[],"path":"","body":"canary"}"#, "member \"received\" is missing"),
        ] {
            let error = SavedDelivery::from_line(line.as_bytes()).unwrap_err();
            assert!(error.contains(problem) && !error.contains("canary"), "{line}: {error}");
        }
    }
}
