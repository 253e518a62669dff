//! Deliveries in a file, one JSON object per line, as `listen --save` writes and `replay` reads them.
//!
//! ```json
//! {"received":"2024-05-21T08:22:32.452Z","method":"POST","path":"/webhooks/roomz",
//!  "headers":[{"name":"roomz-signature","value":"…"}],"body":"{…}"}
//! ```
//!
//! Text that is not UTF-8 stands in base64, under `body_base64` and `value_base64`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};

/// The headers that are kept: what a receiver looks at, and who sent it.
pub(crate) const HEADERS: [&str; 5] =
    [roomz_protocol::SIGNATURE_HEADER, "x-roomz-signature", "content-type", "content-encoding", "user-agent"];

/// One delivery as it arrived.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) received: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Those of [`HEADERS`], repeated ones included.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Saved {
    pub(crate) fn to_json(&self) -> Value {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| {
                let mut header = Map::from_iter([("name".to_owned(), json!(name.as_str()))]);
                put(&mut header, "value", value.as_bytes());
                Value::Object(header)
            })
            .collect();
        let mut object = Map::from_iter([
            ("received".to_owned(), json!(self.received)),
            ("method".to_owned(), json!(self.method.as_str())),
            ("path".to_owned(), json!(self.path)),
            ("headers".to_owned(), Value::Array(headers)),
        ]);
        put(&mut object, "body", &self.body);
        Value::Object(object)
    }

    /// Reads one line; the error says what is wrong with it, and quotes nothing of it.
    pub(crate) fn from_line(line: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| format!("is no JSON: {error}"))?;
        let object = value.as_object().ok_or_else(|| "is no JSON object".to_owned())?;
        let text = |key: &str| match object.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("has a member {key:?} that is no text")),
            None => Err(format!("lacks the member {key:?}")),
        };
        let method =
            text("method")?.parse().map_err(|_| "has a method that HTTP does not allow".to_owned())?;
        let headers = object.get("headers").and_then(Value::as_array);
        let headers = headers.ok_or_else(|| "lacks the member \"headers\", a list".to_owned())?;
        Ok(Self {
            received: text("received")?,
            method,
            path: text("path")?,
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
            body: bytes(object, "body")?.into(),
        })
    }
}

fn header(value: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let object = value.as_object().ok_or_else(|| "has a header that is no object".to_owned())?;
    let name = object.get("name").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let name = name.ok_or_else(|| "has a header without a name that HTTP allows".to_owned())?;
    let value = HeaderValue::try_from(bytes(object, "value")?)
        .map_err(|_| format!("has a value of the header {name} that HTTP does not allow"))?;
    Ok((name, value))
}

/// Under `key` when it is text, else under `key_base64`.
fn put(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    let (key, text) = match std::str::from_utf8(bytes) {
        Ok(text) => (key.to_owned(), text.to_owned()),
        Err(_) => (format!("{key}_base64"), STANDARD.encode(bytes)),
    };
    object.insert(key, Value::String(text));
}

fn bytes(object: &Map<String, Value>, key: &str) -> Result<Vec<u8>, String> {
    let encoded = format!("{key}_base64");
    match (object.get(key), object.get(&encoded)) {
        (Some(Value::String(text)), None) => Ok(text.clone().into_bytes()),
        (None, Some(Value::String(text))) => STANDARD
            .decode(text)
            .map_err(|error| format!("has a member {encoded:?} that is no base64: {error}")),
        (None, None) => Err(format!("lacks the member {key:?} or {encoded:?}")),
        (Some(_), Some(_)) => Err(format!("has both {key:?} and {encoded:?}")),
        _ => Err(format!("has a member {key:?} or {encoded:?} that is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_as_they_were() {
        let mut headers = HeaderMap::new();
        headers.append("roomz-signature", "one".parse().unwrap());
        headers.append("roomz-signature", HeaderValue::from_bytes(b"tw\xf6").unwrap());
        for body in
            [&b""[..], b"{}\r\n", "\u{202e}\u{0}\u{1b}ü".as_bytes(), b"\xff\xfe\x00", "\u{feff}{}".as_bytes()]
        {
            let saved = Saved {
                received: "2024-05-21T08:22:32.452Z".to_owned(),
                method: Method::POST,
                path: "/a?b".to_owned(),
                headers: headers.clone(),
                body: Bytes::copy_from_slice(body),
            };
            let line = saved.to_json().to_string();
            assert!(!line.contains('\n'));
            let read = Saved::from_line(line.as_bytes()).unwrap();
            assert_eq!(
                (read.body, read.headers, read.path),
                (saved.body, saved.headers, saved.path),
                "{line}"
            );
        }
    }

    #[test]
    fn a_broken_line_says_what_is_wrong_and_quotes_nothing() {
        for (line, what) in [
            ("canary", "is no JSON"),
            ("[\"canary\"]", "is no JSON object"),
            (r#"{"method":"canary x"}"#, "method that HTTP does not allow"),
            (r#"{"method":"POST"}"#, "lacks the member \"headers\""),
            (r#"{"method":"POST","headers":[1],"received":"","path":""}"#, "is no object"),
            (r#"{"method":"POST","headers":[{"name":"a\nb"}],"received":"","path":""}"#, "without a name"),
            (
                r#"{"method":"POST","headers":[{"name":"a","value":"\n"}],"received":"","path":""}"#,
                "value of the header a",
            ),
            (r#"{"method":"POST","headers":[],"received":"","path":""}"#, "lacks the member \"body\""),
            (
                r#"{"method":"POST","headers":[],"received":"","path":"","body":"a","body_base64":""}"#,
                "has both",
            ),
            (
                r#"{"method":"POST","headers":[],"received":"","path":"","body_base64":"canary!"}"#,
                "is no base64",
            ),
            (r#"{"method":"POST","headers":[],"received":"","path":"","body":7}"#, "is no text"),
            (r#"{"method":"POST","headers":[],"path":"","body":"canary"}"#, "lacks the member \"received\""),
        ] {
            let error = Saved::from_line(line.as_bytes()).unwrap_err();
            assert!(error.contains(what) && !error.contains("canary"), "{line}: {error}");
        }
    }
}
