//! A tower [`Layer`](tower_layer::Layer) for [ROOMZ](https://roomz.io) webhooks, for axum, tonic, hyper and AWS Lambda.
//!
//! It buffers the body, verifies `Roomz-Signature`, detects duplicates, and passes each new event to the service behind
//! it. With axum, use `roomz-axum`, which adds extractors.
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
//! **No accepted event is lost, and while its id is remembered it takes effect once.** An event is accepted when it was
//! answered 2xx: its handler ran, or the event was skipped for a reason in the table below.
//!
//! This is at-least-once delivery with deduplication, not exactly-once. If a process dies after the handler took effect
//! and before the store recorded it, a redelivery runs the handler again, with [`Delivery::attempt`] above 1. A handler
//! that must not act twice writes its effect and the event id in one transaction.
//!
//! ROOMZ does not document whether and when it redelivers after an answer other than 2xx. A rejected event, or one whose
//! handler failed, comes back only if ROOMZ sends it again.
//!
//! # Order of checks
//!
//! Cheap checks come first. Nothing unsigned reaches the store. A rejected request never reaches the service.
//!
//! | # | check | otherwise |
//! |---|---|---|
//! | 1 | the method is POST | 405 |
//! | 2 | the body is not compressed (`Content-Encoding`) | 415 |
//! | 3 | there is exactly one signature header, 88 characters of base64 | 401, body not read |
//! | 4 | `Content-Length` is within the limit (256 KiB) | 413, body not read |
//! | 5 | the body is within the limit, and complete in 10 s | 413, 408; 400 if the connection breaks |
//! | 6 | the signature matches the body under one of the secrets | 401 |
//! | 7 | the body is UTF-8 and one JSON object without repeated known keys; `id`, `type` and `timestamp` are readable and `data` is present (unreadable `data` is accepted as [`EventData::Unknown`]) | 400 |
//! | 8 | the event is not too old or too new ([`with_max_age`](WebhookLayerBuilder::with_max_age), off by default) | 400, or 200 by policy |
//! | 9 | the event can be claimed | next table |
//! | 10 | the service | its own answer |
//!
//! A rejection is `application/problem+json` with a stable `reason` (see [`RejectionKind`]). The [`Rejection`] is also in
//! the response's extensions. Rejections are responses, not errors: the service's error type passes through unchanged.
//!
//! # Claims
//!
//! | situation | answer |
//! |---|---|
//! | first delivery, the handler answers 2xx | the event is completed, then the handler's answer |
//! | the handler answers anything else, fails, or panics | the event is released, then its answer (500 for a panic); a redelivery runs again |
//! | duplicate of a handled event | 200 with `roomz-webhook-skipped: duplicate`; the handler does not run |
//! | duplicate while the first delivery is in flight | waits up to 10 s, plus one store timeout: 200 if the first succeeded, runs itself if the first failed; else 503 with `Retry-After` |
//! | known id with another body | as a duplicate, with a warning and a metric (see [`IdReusePolicy`]) |
//! | the client disconnects while the handler runs | the handler finishes in the background ([`drain`](WebhookLayer::drain) waits for it) |
//! | the handler runs longer than the lease (60 s) | the lease is renewed, for up to 10 min, unless the handler blocks its thread |
//! | the process dies | the lease ends; the next delivery is the next attempt |
//! | the store is down, full or slower than 2 s at the claim | 503 with `Retry-After` (see [`StoreFailurePolicy`]) |
//! | the store is down at the completion | the handler's answer stands; the completion is retried in the background for 10 min, and this process detects duplicates itself |
//!
//! The answer's head decides. A body that the service streams is sent after the event was completed.
//!
//! # Mounting
//!
//! Put the layer around one route, a router, or a whole server. Around a whole server, set the path with
//! [`with_path`](WebhookLayerBuilder::with_path): requests with other paths then pass through unverified and streaming.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = roomz_webhook::Secret::new("the webhook secret")?;
//! let layer = roomz_webhook::WebhookLayer::builder(secret).with_path("/webhooks/roomz").build()?;
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! The layer needs a tokio runtime with time enabled. It cannot limit how long a client takes to send the request's
//! *head*: set a header timeout in the server, as the example `quickstart` does. AWS Lambda freezes the process after an
//! answer, so background work stops until the next request.
//!
//! # Stores
//!
//! The default is [`MokaStore`](store::MokaStore), in memory: forgotten on restart, not shared, at most 100 000 handled
//! ids for 7 days. `roomz-sql` and `roomz-redis` are shared and durable. For another database implement
//! [`IdempotencyStore`](store::IdempotencyStore); the feature `testing` has its test suite, and the example
//! `custom-store` shows how.
//!
//! # Logs
//!
//! Logs go through [`tracing`] with the target `roomz_webhook`. From the claim on, they are in a span with the event's id
//! and type. Messages are constant; the variable part is in fields.
//!
//! | level | messages |
//! |---|---|
//! | ERROR | `store operation failed`, `settlement abandoned` |
//! | WARN | `event released for a redelivery`, `event has unknown data`, `event id received with another body`, `claim …` when the claim was lost, `lease ceiling reached …`, and `delivery rejected` for signed deliveries |
//! | INFO | `event handled`, `event skipped` (for example duplicates), and `delivery rejected` when the event is in flight, the store failed or the handler panicked |
//! | DEBUG | `delivery rejected` for unsigned requests, which anybody can send; `event accepted` (passed to the service); `store retry failed` |
//! | TRACE | `signature verified` |
//!
//! No log line, answer, `Debug` or error contains a secret, a signature or a body.
//!
//! # Features
//!
//! All are off by default.
//!
//! - `serde`: `Serialize` and `Deserialize` for events and their parts, see [`roomz_protocol`].
//! - `signal`: [`shutdown_signal`], for a server's graceful shutdown.
//! - `testing`: [`testing`], with a manual clock, the contract suite for stores, and signed test deliveries.
//! - `metrics`: the following metrics through the [`metrics`](https://docs.rs/metrics) facade. All names start with
//!   `roomz_webhook_`.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `verified_total` | counter | `secret`: `0`, `1`, `2`, `3+` | deliveries with a valid signature, by the secret's position |
//! | `accepted_total` | counter | | events passed to the service |
//! | `handled_total` | counter | | of these, answered 2xx by a handler that ran |
//! | `released_total` | counter | | of these, released for a redelivery |
//! | `skipped_total` | counter | `reason`: `duplicate`, `stale`, `ignored` | answered 200 without the handler; `ignored` ones were accepted |
//! | `rejected_total` | counter | `reason` | rejections |
//! | `unknown_total` | counter | | accepted events of an unknown type, or with unreadable data: alert on it to notice when ROOMZ changes something |
//! | `id_reused_total` | counter | | known ids with another body |
//! | `lost_total` | counter | | claims that the owner no longer held when it settled them |
//! | `store_errors_total` | counter | `operation`: `claim`, `renew`, `complete`, `release` | failed store operations |
//! | `evicted_early_total` | counter | | ids that the moka store evicted before their retention ended |
//! | `in_flight` | gauge | | running handlers |
//! | `event_age_seconds` | histogram | | arrival minus the event's timestamp; 0 for a timestamp in the future |
//! | `handling_seconds` | histogram | | time in the service, including the wait until it is ready |
//!
//! The minimum supported Rust version is 1.88.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod build_error;
mod builder;
mod claim;
mod clock;
mod config;
mod delivery;
mod drain;
mod error_chain;
mod future;
mod layer;
mod panic;
mod path;
mod response;
mod secrets;
mod service;
#[cfg(feature = "signal")]
mod signal;
mod state;
pub mod store;
mod telemetry;
mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;

pub use self::body::WebhookBody;
pub use self::build_error::{BuildError, BuildErrorKind};
pub use self::builder::WebhookLayerBuilder;
pub use self::clock::{Clock, SystemClock};
pub use self::config::{IdReusePolicy, StalePolicy, StoreFailurePolicy};
pub use self::delivery::Delivery;
pub use self::future::ResponseFuture;
pub use self::layer::WebhookLayer;
pub use self::response::{Rejection, RejectionKind, ResponseBody, Skipped};
pub use self::secrets::SecretsHandle;
pub use self::service::Webhook;
#[cfg(feature = "signal")]
pub use self::signal::shutdown_signal;
pub use self::tenant::{Tenant, TenantLookup, TenantMap};

/// The macro with which [`TenantLookup`] and [`IdempotencyStore`](store::IdempotencyStore) are implemented.
pub use async_trait::async_trait;

pub use roomz_protocol::{
    self, Event, EventData, EventId, EventType, Latest, LatestOutcome, PresenceStatus, Secret, Secrets,
    Timestamp, WorkspaceId, WorkspacePresenceChanged,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../DESIGN.md")]
struct Design;

#[cfg(doctest)]
#[doc = include_str!("../COMPARE.md")]
struct Compare;
