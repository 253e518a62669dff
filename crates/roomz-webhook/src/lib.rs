//! A tower [`Layer`](tower_layer::Layer) for [ROOMZ](https://roomz.io) webhooks, for axum, tonic, hyper and
//! AWS Lambda.
//!
//! It buffers the body, verifies `Roomz-Signature`, detects duplicates, and passes each new event to the
//! service behind it. With axum, use `roomz-axum`, which adds extractors.
//!
//! ```
//! use http::{Request, Response};
//! use roomz_webhook::{Delivery, EventData, Secret, WebhookBody, WebhookLayer};
//! use tower::{BoxError, ServiceBuilder, service_fn};
//!
//! async fn handle(request: Request<WebhookBody>) -> Result<Response<String>, BoxError> {
//!     if let Some(delivery) = request.extensions().get::<Delivery>()
//!         && let EventData::WorkspacePresenceChanged(change) = &delivery.event().data
//!     {
//!         println!("{} is {}", change.workspace_id, change.presence_status);
//!     }
//!     Ok(Response::new(String::new()))
//! }
//!
//! # fn main() -> Result<(), BoxError> {
//! # let secret = "the webhook secret";
//! // In a program: Secret::from_env("ROOMZ_WEBHOOK_SECRET")?
//! let layer = WebhookLayer::new(Secret::new(secret)?);
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(handle));
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantee
//!
//! **No accepted event is lost, and while its id is remembered it takes effect once.** An event is accepted
//! when it was answered 2xx: its handler ran, or the event was skipped for a reason in the table below.
//!
//! This is at-least-once delivery with deduplication. If a process dies after the handler took effect and
//! before the store recorded it, a redelivery runs the handler again, with [`Delivery::attempt`] above 1. A
//! handler that must not act twice completes the event in its own transaction, with `roomz-sql`.
//!
//! A rejected event, or one whose handler failed, comes back only if ROOMZ sends it again. ROOMZ does not
//! document whether and when it does.
//!
//! # Order of checks
//!
//! Nothing unsigned reaches the store. A rejected request never reaches the service.
//!
//! | # | check | otherwise |
//! |---|---|---|
//! | 1 | the method is POST | 405 |
//! | 2 | the body is not compressed: `Content-Encoding` names no compression such as `gzip` or `br` | 415 |
//! | 3 | there is exactly one signature header, 88 characters of base64 | 401, body not read |
//! | 4 | `Content-Length` is within the limit (256 KiB) | 413, body not read |
//! | | with [tenants](#tenants-and-secrets): the request's tenant is looked up | 503 if that fails; an unknown tenant is 401 at check 6 |
//! | 5 | the body is within the limit, and complete in 10 s | 413, 408; 400 if the connection breaks |
//! | 6 | the signature matches the body under one of the secrets | 401 |
//! | 7 | the body is UTF-8 and one JSON object without repeated known keys; `id` and `type` are readable. An unknown type, a `timestamp` that is missing or unreadable ([spellings](roomz_protocol#accepted-spellings)) and `data` that is missing or unreadable are accepted as [`EventData::Unknown`] | 400 |
//! | 8 | the event is not too old or too new ([`with_max_age`](WebhookLayerBuilder::with_max_age), off by default); an unreadable timestamp fails this check | 400, or 200 by policy |
//! | 9 | the event can be claimed | next table |
//! | 10 | the service | its own answer |
//!
//! A rejection is `application/problem+json` with a stable `reason` ([`RejectionKind`]), and a [`Rejection`]
//! in the response's extensions. From the claim on, the answers of the layer itself (a duplicate, a 503)
//! also have the [`EventId`] there, for logs. The service's error type passes through unchanged.
//!
//! A rejection that is sent before the body was read to its end carries `Connection: close` over HTTP/1: a
//! proxy must not send the next delivery on that connection. The layer then reads and drops the rest, up to
//! the body limit and timeout, so that a client that sends everything before it reads gets the rejection.
//!
//! # Claims
//!
//! | situation | answer |
//! |---|---|
//! | first delivery, the handler answers 2xx | the event is completed, then the handler's answer |
//! | the handler answers anything else, fails, or panics | the event is released, then its answer (500 for a panic); a redelivery runs again |
//! | duplicate of a handled event | 200 with `roomz-webhook-skipped: duplicate`; the handler does not run |
//! | duplicate while the first delivery is in flight | waits up to 10 s, plus one store timeout. If the first delivery succeeds, the duplicate is answered 200. If it fails, the duplicate runs the handler. After the wait: 503 with `Retry-After`. At most 100 duplicates wait for one event, and 1 000 in all |
//! | known id with another body | as a duplicate, with a warning and a metric (see [`IdReusePolicy`]) |
//! | the client disconnects while the handler runs | the handler finishes in the background ([`drain`](WebhookLayer::drain) waits for it) |
//! | the handler runs longer than the lease (60 s) | the lease is renewed, for up to 10 min, unless the handler blocks its thread |
//! | the store loses the claim while the handler runs | the layer claims the event again, at the next renewal (20 s) or at the completion; a duplicate that arrives before runs too |
//! | the process dies | 503 until the lease ends ([60 s](WebhookLayerBuilder::with_lease)); the next delivery is the next attempt |
//! | the store is down or slower than 2 s at the claim | 503 with `Retry-After` (see [`with_fail_open`](WebhookLayerBuilder::with_fail_open)) |
//! | the store is full | 503 with `Retry-After`, under every policy |
//! | the store is down at the completion | the handler's response is sent. The completion is retried in the background for 10 min, and this process detects duplicates itself. At most 10 000 settlements are pending at a time; any more are abandoned, logged and counted |
//! | [`begin_shutdown`](WebhookLayer::begin_shutdown) was called | deliveries are handled; HTTP/1 responses carry `Connection: close` |
//! | [`drain`](WebhookLayer::drain) waits | no handler starts: 503 with `Retry-After` |
//!
//! The response's status decides. The event is completed before a streamed response body is sent, so a body
//! that fails later does not release it. After a disconnect, the handler goes on in a task of its runtime; if
//! that shuts down, a redelivery can run the event when its lease ends.
//!
//! # Mounting
//!
//! Put the layer around one route, a router, or a whole server. Around a whole server, set the path with
//! [`with_path`](WebhookLayerBuilder::with_path), whose documentation says what passes unverified.
//!
//! See also [tonic](docs::composing#tonic), [other layers](docs::composing), [logs](docs::logs) and
//! [metrics](docs::metrics).
//!
//! # Tenants and secrets
//!
//! [`WebhookLayer::builder_for_tenants`] looks up the secrets and the namespace of each request, for several
//! customers: see the example `tenants`. A [`SecretsHandle`] replaces the secrets of a running layer, the
//! [`TenantMap`] those of a tenant.
//!
//! # Requirements
//!
//! The layer needs a tokio runtime with time enabled. It cannot limit how long a client takes to send the
//! request's *head*: set a header timeout in the server, as the example `quickstart` does. AWS Lambda freezes
//! the process after an answer, so background work stops until the next request.
//!
//! # Stores
//!
//! The default is [`MokaStore`](store::MokaStore), in memory: forgotten on restart, not shared, at most
//! 1 000 000 handled ids for 7 days, in up to [373 MB](store#which-store-in-memory). `roomz-sql` and
//! `roomz-redis` are shared and durable.
//! For another database, implement [`IdempotencyStore`](store::IdempotencyStore): see the example
//! `custom-store`.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `compact`: `store::CompactStore`, for [more than a million ids](store#which-store-in-memory) in one
//!   process.
//! - `serde`: `Serialize` and `Deserialize` for events and their parts, see [`roomz_protocol`].
//! - `signal`: [`shutdown_signal`], for a server's graceful shutdown.
//! - `testing`: [`testing`], with a manual clock, the contract suite for stores, and signed test deliveries.
//! - `metrics`: [metrics](docs::metrics) through the [`metrics`](https://docs.rs/metrics) facade.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod build_error;
mod builder;
mod call;
mod claim;
mod clock;
mod config;
mod delivery;
pub mod docs;
mod drain;
mod finish;
mod layer;
mod readiness;
mod response;
mod secrets;
mod service;
#[cfg(feature = "signal")]
mod signal;
mod state;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;

pub use self::body::WebhookBody;
pub use self::build_error::BuildError;
pub use self::builder::WebhookLayerBuilder;
pub use self::clock::{Clock, SystemClock};
pub use self::config::{IdReusePolicy, StalePolicy};
pub use self::delivery::Delivery;
pub use self::layer::WebhookLayer;
pub use self::response::{Rejection, RejectionKind, ResponseBody, Skipped};
pub use self::secrets::{SecretsHandle, Tenant, TenantLookup, TenantMap};
pub use self::service::Webhook;
#[cfg(feature = "signal")]
pub use self::signal::shutdown_signal;
#[cfg(feature = "metrics")]
pub use self::telemetry::HISTOGRAM_BUCKETS;

/// The macro with which [`TenantLookup`] and [`IdempotencyStore`](store::IdempotencyStore) are implemented.
pub use async_trait::async_trait;

pub use roomz_protocol::{
    self, Event, EventData, EventId, EventType, Latest, LatestOutcome, PresenceStatus, Secret, Secrets,
    Timestamp, WorkspaceId, WorkspacePresenceChanged,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../DESIGN.md")]
#[doc = include_str!("../COMPARE.md")]
struct Documents;
