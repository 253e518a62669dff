//! The services that the benchmarks compare.

use std::convert::Infallible;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use moka::sync::Cache;
use roomz_protocol::testing::{TestEvent, signed_request};
use roomz_protocol::{Event, EventId, SIGNATURE_HEADER, Secret, Secrets, Signature, Timestamp, Uuid};
use roomz_webhook::store::{IdempotencyStore, MokaStore};
use roomz_webhook::{Delivery, WebhookBody, WebhookLayer};
use sha2::Sha512;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt, service_fn};

/// A service that returns a status.
pub(crate) type App = BoxCloneSyncService<Request<Body>, StatusCode, Infallible>;

/// The webhook secret of every benchmark.
pub(crate) fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// Creates signed deliveries, at a lower cost than the measured services.
#[derive(Debug)]
pub(crate) struct Deliveries {
    body: Vec<u8>,
    next_id: u64,
}

impl Deliveries {
    /// The first event has id 1.
    pub(crate) fn new() -> Self {
        Self::with_padding(0)
    }

    /// Bodies that are longer by some bytes.
    pub(crate) fn with_padding(bytes: usize) -> Self {
        let event = TestEvent::busy().with("id", "00000000-0000-0000-0000-000000000000");
        let event = if bytes > 0 { event.with("padding", "x".repeat(bytes)) } else { event };
        Self { body: event.body(), next_id: 1 }
    }

    /// The first event has this id, which has at most 48 bits.
    pub(crate) fn from_id(next_id: u64) -> Self {
        Self { next_id, ..Self::new() }
    }

    /// A delivery of a new event.
    pub(crate) fn next_event(&mut self) -> Request<Body> {
        self.next_event_to("/")
    }

    /// A delivery of a new event to a path.
    pub(crate) fn next_event_to(&mut self, path: &str) -> Request<Body> {
        let mut body = self.body.clone();
        let zero = b"00000000-0000-0000-0000-000000000000";
        let at = body.windows(zero.len()).position(|window| window == zero).unwrap();
        let id = format!("00000000-0000-0000-0000-{:012x}", self.next_id);
        body.get_mut(at..at + zero.len()).unwrap().copy_from_slice(id.as_bytes());
        self.next_id += 1;
        signed_request(path, body, &secret())
    }

    /// A delivery of always the same event.
    pub(crate) fn duplicate(&self) -> Request<Body> {
        signed_request("/", self.body.clone(), &secret())
    }

    /// A delivery that is signed with another secret.
    pub(crate) fn forged(&self) -> Request<Body> {
        signed_request("/", self.body.clone(), &Secret::new("a guess").unwrap())
    }
}

/// Reads the body only: the minimum of every receiver.
pub(crate) fn bare() -> App {
    with_body(|_, body| if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::OK })
}

/// Verifies and parses in the handler, without the layer. Does not deduplicate.
pub(crate) fn by_hand() -> App {
    let secrets = Secrets::from(secret());
    with_body(move |headers, body| handle_by_hand(headers, body, &secrets, |_| true))
}

/// The same, and deduplicates with moka.
pub(crate) fn by_hand_moka() -> App {
    let (secrets, cache) = (Secrets::from(secret()), Cache::new(1_000_000));
    with_body(move |headers, body| handle_by_hand(headers, body, &secrets, |id| is_new(&cache, id)))
}

/// Uses nothing of this project.
pub(crate) fn without_kit() -> App {
    let cache = Cache::new(1_000_000);
    with_body(move |headers, body| handle_without_kit(headers, body, &cache))
}

fn with_body(handle: impl Fn(&HeaderMap, &[u8]) -> StatusCode + Clone + Send + Sync + 'static) -> App {
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let handle = handle.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok(handle(&head.headers, &body))
        }
    }))
}

/// Verifies, parses and deduplicates with this project's functions, without the layer.
pub(crate) fn handle_by_hand(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &Secrets,
    is_new: impl FnOnce(EventId) -> bool,
) -> StatusCode {
    let signature = headers.get(SIGNATURE_HEADER).map(|value| Signature::from_base64(value.as_bytes()));
    let Some(Ok(signature)) = signature else { return StatusCode::UNAUTHORIZED };
    if secrets.verify(body, &signature).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = Event::parse(body) else { return StatusCode::BAD_REQUEST };
    let is_new = is_new(event.id);
    std::hint::black_box(event);
    if is_new { StatusCode::OK } else { StatusCode::ALREADY_REPORTED }
}

/// Verifies, parses and deduplicates as a handler would without this project: with `hmac`, whose key is set
/// up for each request, serde and moka.
pub(crate) fn handle_without_kit(headers: &HeaderMap, body: &[u8], cache: &Cache<EventId, ()>) -> StatusCode {
    #[derive(serde::Deserialize)]
    struct Event {
        id: Uuid,
        #[serde(rename = "type")]
        event_type: String,
        timestamp: String,
        data: serde_json::Value,
    }
    let signature = headers.get("roomz-signature").map(|value| STANDARD.decode(value));
    let Some(Ok(signature)) = signature else { return StatusCode::UNAUTHORIZED };
    let mut mac = Hmac::<Sha512>::new_from_slice(b"the webhook secret").unwrap();
    mac.update(body);
    if mac.verify_slice(&signature).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(Event { id, event_type, timestamp, data }) = serde_json::from_slice(body) else {
        return StatusCode::BAD_REQUEST;
    };
    let Ok(timestamp) = timestamp.parse::<Timestamp>() else { return StatusCode::BAD_REQUEST };
    let is_new = is_new(cache, id.into());
    std::hint::black_box((event_type, timestamp, data));
    if is_new { StatusCode::OK } else { StatusCode::ALREADY_REPORTED }
}

/// Remembers an id, and returns true if it is new.
pub(crate) fn is_new(cache: &Cache<EventId, ()>, id: EventId) -> bool {
    let is_new = !cache.contains_key(&id);
    if is_new {
        cache.insert(id, ());
    }
    is_new
}

/// The layer with its default store.
pub(crate) fn layer() -> App {
    with_store(MokaStore::new())
}

/// The layer with this store.
pub(crate) fn with_store(store: impl IdempotencyStore) -> App {
    with_layer(&WebhookLayer::builder(secret()).with_store(store).build().unwrap())
}

/// This layer around a handler that does nothing.
pub(crate) fn with_layer(layer: &WebhookLayer) -> App {
    let service = service_fn(async |request: Request<WebhookBody>| {
        let delivery = request.extensions().get::<Delivery>();
        let status = if delivery.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    let service = layer.layer(service);
    BoxCloneSyncService::new(ServiceExt::<Request<Body>>::map_response(service, |response: Response<_>| {
        response.status()
    }))
}

/// The bytes of a request on the wire.
pub(crate) fn bytes(request: Request<Body>) -> Vec<u8> {
    let (head, body) = request.into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    let mut bytes =
        format!("POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", head.uri, body.len())
            .into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_ref());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}
