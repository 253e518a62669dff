//! Test events and signed requests, to test your handler without ROOMZ.
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

use http::{Request, header};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::id::{EventId, WorkspaceId};
use crate::secret::Secret;
use crate::signature::SIGNATURE_HEADER;

/// A test event: by default a presence change with random ids and the current time.
///
/// [`with`](Self::with) and [`without`](Self::without) change any member of the JSON, also to make it
/// invalid.
///
/// ```
/// use roomz_protocol::testing::TestEvent;
/// use roomz_protocol::{Event, EventId, Uuid};
///
/// let id = EventId::from(Uuid::from_u128(7));
/// let event = TestEvent::busy().with_id(id).with_timestamp("2024-05-21T08:22:32Z".parse()?);
/// assert_eq!(Event::parse(&event.body())?.id, id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TestEvent {
    json: Map<String, Value>,
}

impl TestEvent {
    /// Creates a presence change to `Busy`.
    #[must_use]
    pub fn busy() -> Self {
        Self::presence("Busy")
    }

    /// Creates a presence change to `Free`.
    #[must_use]
    pub fn free() -> Self {
        Self::presence("Free")
    }

    /// Creates a presence change to any status text.
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

    /// Sets the event id. The default is random.
    ///
    /// Set it to test duplicates, for example two events with the same id and different bodies.
    #[must_use]
    pub fn with_id(self, id: EventId) -> Self {
        self.with("id", id.to_string())
    }

    /// Sets the timestamp. The default is the current time.
    ///
    /// Set it to test late and expired events.
    #[must_use]
    pub fn with_timestamp(self, timestamp: Timestamp) -> Self {
        self.with("timestamp", timestamp.to_string())
    }

    /// Sets the event type. The default is `workspace.presence.changed`.
    ///
    /// ```
    /// use roomz_protocol::testing::TestEvent;
    /// use roomz_protocol::{Event, EventData};
    ///
    /// let event = Event::parse(&TestEvent::busy().with_type("workspace.booked").body())?;
    /// assert!(matches!(event.data, EventData::Unknown(_)));
    /// # Ok::<(), roomz_protocol::ParseError>(())
    /// ```
    #[must_use]
    pub fn with_type(self, event_type: &str) -> Self {
        self.with("type", event_type)
    }

    /// Sets the workspace id in the data. The default is random.
    ///
    /// This has no effect if `data` is not an object.
    ///
    /// ```
    /// use roomz_protocol::testing::TestEvent;
    /// use roomz_protocol::{Event, Uuid, WorkspaceId, WorkspacePresenceChanged};
    ///
    /// let desk = WorkspaceId::from(Uuid::from_u128(7));
    /// let event = Event::parse(&TestEvent::busy().with_workspace_id(desk).body())?;
    /// assert_eq!(event.typed::<WorkspacePresenceChanged>().unwrap().data.workspace_id, desk);
    /// # Ok::<(), roomz_protocol::ParseError>(())
    /// ```
    #[must_use]
    pub fn with_workspace_id(mut self, id: WorkspaceId) -> Self {
        if let Some(Value::Object(data)) = self.json.get_mut("data") {
            data.insert("workspaceId".to_owned(), json!(id.to_string()));
        }
        self
    }

    /// Sets any member of the event's JSON object.
    ///
    /// ```
    /// use roomz_protocol::Event;
    /// use roomz_protocol::testing::TestEvent;
    ///
    /// let error = Event::parse(&TestEvent::busy().with("id", 7).body()).unwrap_err();
    /// assert_eq!(error.to_string(), "the field `id` is not a string");
    /// ```
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.json.insert(key.to_owned(), value.into());
        self
    }

    /// Removes any member of the event's JSON object.
    ///
    /// ```
    /// use roomz_protocol::Event;
    /// use roomz_protocol::testing::TestEvent;
    ///
    /// let error = Event::parse(&TestEvent::busy().without("type").body()).unwrap_err();
    /// assert_eq!(error.to_string(), "the field `type` is missing");
    /// ```
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.json.remove(key);
        self
    }

    /// Returns the body of the delivery: the event as JSON.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        Value::Object(self.json.clone()).to_string().into_bytes()
    }

    /// Returns the delivery: a signed `POST` request with the headers that ROOMZ sends.
    ///
    /// # Panics
    ///
    /// If `uri` is not a valid URI.
    #[must_use]
    pub fn request<B: From<Vec<u8>>>(&self, uri: &str, secret: &Secret) -> Request<B> {
        signed_request(uri, self.body(), secret)
    }
}

/// Creates a signed `POST` request of any body, with the headers that ROOMZ sends.
///
/// ```
/// use roomz_protocol::Secret;
/// use roomz_protocol::testing::signed_request;
///
/// let secret = Secret::new("the webhook secret")?;
/// let request: http::Request<Vec<u8>> = signed_request("/webhooks/roomz", b"not JSON".to_vec(), &secret);
/// assert_eq!(request.headers()["content-type"], "application/json");
/// # Ok::<(), roomz_protocol::SecretError>(())
/// ```
///
/// # Panics
///
/// If `uri` is not a valid URI.
#[must_use]
pub fn signed_request<B: From<Vec<u8>>>(uri: &str, body: Vec<u8>, secret: &Secret) -> Request<B> {
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, secret.sign(&body).to_base64());
    #[expect(clippy::expect_used, reason = "the panic is documented: a test should fail at an invalid URI")]
    request.body(B::from(body)).expect("`uri` must be a URI, such as /webhooks/roomz")
}
