//! The services that the benchmarks compare.

#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::unwrap_used,
    reason = "support of benchmarks, not a public API"
)]

mod goal;

pub use self::goal::{Goal, median, print_goal};

use std::convert::Infallible;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use moka::sync::Cache;
use roomz_protocol::testing::{TestEvent, signed_request};
use roomz_protocol::{Event, Secret, Secrets, Signature, Timestamp, Uuid};
use roomz_webhook::store::{IdempotencyStore, MokaStore};
use roomz_webhook::{Delivery, WebhookBody, WebhookLayer};
use sha2::Sha512;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt, service_fn};

/// A service that returns a status.
pub type App = BoxCloneSyncService<Request<Body>, StatusCode, Infallible>;

/// The webhook secret of every benchmark.
pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// Creates signed deliveries, at a lower cost than the measured services.
#[derive(Debug)]
pub struct Deliveries {
    body: Vec<u8>,
    next_id: u64,
}

impl Deliveries {
    /// The first event has id 1.
    pub fn new() -> Self {
        let body = TestEvent::busy().with("id", "00000000-0000-0000-0000-000000000000").body();
        Self { body, next_id: 1 }
    }

    /// A delivery of a new event.
    pub fn next_event(&mut self) -> Request<Body> {
        let mut body = self.body.clone();
        let zero = b"00000000-0000-0000-0000-000000000000";
        let at = body.windows(zero.len()).position(|window| window == zero).unwrap();
        let id = format!("00000000-0000-0000-0000-{:012x}", self.next_id);
        body.get_mut(at..at + zero.len()).unwrap().copy_from_slice(id.as_bytes());
        self.next_id += 1;
        signed_request("/", body, &secret())
    }

    /// A delivery of always the same event.
    pub fn duplicate(&self) -> Request<Body> {
        signed_request("/", self.body.clone(), &secret())
    }

    /// A delivery that is signed with another secret.
    pub fn forged(&self) -> Request<Body> {
        signed_request("/", self.body.clone(), &Secret::new("a guess").unwrap())
    }
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads the body only: the minimum of every receiver.
pub fn bare() -> App {
    BoxCloneSyncService::new(service_fn(async |request: Request<Body>| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok(if body.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::OK })
    }))
}

/// Verifies and parses in the handler, without the layer. Does not deduplicate.
pub fn by_hand() -> App {
    handler(|_| true)
}

/// The same, and deduplicates with moka.
pub fn by_hand_moka() -> App {
    let cache = Cache::new(1_000_000);
    handler(move |event: &Event| {
        let is_new = !cache.contains_key(&event.id);
        if is_new {
            cache.insert(event.id, ());
        }
        is_new
    })
}

/// Verifies, parses and deduplicates as a handler would without this project: with `hmac`, whose key is set
/// up for each request, serde and moka.
pub fn without_kit() -> App {
    #[derive(serde::Deserialize)]
    struct Event {
        id: Uuid,
        #[serde(rename = "type")]
        event_type: String,
        timestamp: String,
        data: serde_json::Value,
    }
    let cache = Cache::new(1_000_000);
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let cache = cache.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let signature = STANDARD.decode(head.headers.get("roomz-signature").unwrap()).unwrap();
            let mut mac = Hmac::<Sha512>::new_from_slice(b"the webhook secret").unwrap();
            mac.update(&body);
            if mac.verify_slice(&signature).is_err() {
                return Ok(StatusCode::UNAUTHORIZED);
            }
            let Event { id, event_type, timestamp, data } = serde_json::from_slice(&body).unwrap();
            let is_new = !cache.contains_key(&id);
            if is_new {
                cache.insert(id, ());
            }
            std::hint::black_box((event_type, timestamp.parse::<Timestamp>().unwrap(), data));
            Ok(if is_new { StatusCode::OK } else { StatusCode::ALREADY_REPORTED })
        }
    }))
}

fn handler(is_new: impl Fn(&Event) -> bool + Clone + Send + Sync + 'static) -> App {
    let secrets = Secrets::from(secret());
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let (secrets, is_new) = (secrets.clone(), is_new.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let signature = head.headers.get("roomz-signature").unwrap();
            let verified = Signature::from_base64(signature.as_bytes())
                .is_ok_and(|signature| secrets.verify(&body, &signature).is_ok());
            Ok(match (verified, Event::parse(&body)) {
                (true, Ok(event)) if is_new(&event) => StatusCode::OK,
                (true, Ok(_)) => StatusCode::ALREADY_REPORTED,
                _ => StatusCode::UNAUTHORIZED,
            })
        }
    }))
}

/// The layer with its default store.
pub fn layer() -> App {
    with_store(MokaStore::new())
}

/// The layer with a full store: each new id evicts an old one.
pub fn layer_at_capacity() -> App {
    with_store(MokaStore::builder().with_capacity(1_000).build())
}

/// The layer with this store.
pub fn with_store(store: impl IdempotencyStore) -> App {
    let layer = WebhookLayer::builder(secret()).with_store(store).build().unwrap();
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
