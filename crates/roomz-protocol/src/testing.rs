//! Events and signed requests as ROOMZ would send them, to test your own handlers with.
//!
//! ```
//! use roomz_protocol::Secret;
//! use roomz_protocol::testing::TestEvent;
//!
//! let secret = Secret::new("the webhook secret")?;
//! let request: http::Request<Vec<u8>> = TestEvent::busy().request("/webhooks/roomz", &secret);
//! assert_eq!(request.headers()["roomz-signature"].len(), 88);
//! # Ok::<(), roomz_protocol::SecretError>(())
//! ```

use http::{HeaderValue, Method, Request, Uri, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{EventId, SIGNATURE_HEADER, Secret, Timestamp, WorkspaceId};

/// An event to be delivered in a test: by default a presence change with fresh ids, dated now.
///
/// It can also be wrong on purpose: [`with`](Self::with) and [`without`](Self::without) change the JSON at will.
#[derive(Clone, Debug)]
pub struct TestEvent {
    json: Map<String, Value>,
}

impl TestEvent {
    /// Somebody sat down.
    #[must_use]
    pub fn busy() -> Self {
        Self::presence("Busy")
    }

    /// Somebody left.
    #[must_use]
    pub fn free() -> Self {
        Self::presence("Free")
    }

    /// A presence change with any status text.
    #[must_use]
    pub fn presence(status: &str) -> Self {
        let json = [
            ("id", json!(Uuid::new_v4().to_string())),
            ("type", json!("workspace.presence.changed")),
            ("timestamp", json!(Timestamp::now().to_string())),
            ("apiVersion", json!("1.0")),
            ("data", json!({ "workspaceId": Uuid::new_v4().to_string(), "presenceStatus": status })),
        ];
        Self { json: json.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
    }

    /// Sets the event's id.
    #[must_use]
    pub fn with_id(self, id: EventId) -> Self {
        self.with("id", id.to_string())
    }

    /// Sets the event's time.
    #[must_use]
    pub fn with_timestamp(self, timestamp: Timestamp) -> Self {
        self.with("timestamp", timestamp.to_string())
    }

    /// Sets the event's type.
    #[must_use]
    pub fn with_type(self, event_type: &str) -> Self {
        self.with("type", event_type)
    }

    /// Sets the workspace in the event's data.
    #[must_use]
    pub fn with_workspace_id(mut self, id: WorkspaceId) -> Self {
        if let Some(Value::Object(data)) = self.json.get_mut("data") {
            data.insert("workspaceId".to_owned(), json!(id.to_string()));
        }
        self
    }

    /// Sets any member of the event's JSON object.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.json.insert(key.to_owned(), value.into());
        self
    }

    /// Removes a member of the event's JSON object.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.json.remove(key);
        self
    }

    /// The body of the delivery: the event as JSON.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        Value::Object(self.json.clone()).to_string().into_bytes()
    }

    /// The delivery: a signed `POST`.
    ///
    /// # Panics
    ///
    /// When `uri` is not a URI.
    #[must_use]
    pub fn request<B: From<Vec<u8>>>(&self, uri: &str, secret: &Secret) -> Request<B> {
        signed_request(uri, self.body(), secret)
    }
}

/// A signed `POST` of any body, with the headers that ROOMZ sends.
///
/// # Panics
///
/// When `uri` is not a URI.
#[must_use]
pub fn signed_request<B: From<Vec<u8>>>(uri: &str, body: Vec<u8>, secret: &Secret) -> Request<B> {
    let signature = secret.sign(&body).to_base64();
    let mut request = Request::new(B::from(body));
    *request.method_mut() = Method::POST;
    #[expect(clippy::expect_used, reason = "documented; a test wants to hear of its own mistake at once")]
    let uri: Uri = uri.parse().expect("`uri` must be a URI, such as /webhooks/roomz");
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    #[expect(clippy::expect_used, reason = "base64 is made of characters that a header may hold")]
    let signature = HeaderValue::try_from(signature).expect("base64 is a header value");
    headers.insert(SIGNATURE_HEADER, signature);
    request
}

/// A secret of any bytes, without the checks of [`Secret::new`], for published test vectors whose keys are random.
///
/// ```
/// let secret = roomz_protocol::testing::secret_of_any_bytes(&[0; 64]);
/// assert_eq!(secret.sign(b"").to_base64().len(), 88);
/// ```
///
/// # Panics
///
/// Never: HMAC takes keys of any length.
#[must_use]
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub fn secret_of_any_bytes(key: &[u8]) -> Secret {
    Secret::unchecked(key).expect("HMAC takes keys of any length")
}
