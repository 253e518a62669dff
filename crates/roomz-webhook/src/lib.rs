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
//! This is at-least-once delivery with deduplication, not exactly-once. If a process dies after the handler
//! took effect and before the store recorded it, a redelivery runs the handler again, with
//! [`Delivery::attempt`] above 1. A handler that must not act twice writes its effect and the event id in one
//! transaction.
//!
//! ROOMZ does not document whether and when it redelivers after an answer other than 2xx. A rejected event,
//! or one whose handler failed, comes back only if ROOMZ sends it again.
//!
//! # Order of checks
//!
//! Cheap checks come first. Nothing unsigned reaches the store. A rejected request never reaches the service.
//!
//! | # | check | otherwise |
//! |---|---|---|
//! | 1 | the method is POST | 405 |
//! | 2 | the body is not compressed: `Content-Encoding` names no compression such as `gzip` or `br` (any other value is ignored; the signature decides) | 415 |
//! | 3 | there is exactly one signature header, 88 characters of base64 | 401, body not read |
//! | 4 | `Content-Length` is within the limit (256 KiB) | 413, body not read |
//! | | with [tenants](#tenants): the request's tenant is looked up | 503 if that fails; an unknown tenant is 401 at check 6 |
//! | 5 | the body is within the limit, and complete in 10 s | 413, 408; 400 if the connection breaks |
//! | 6 | the signature matches the body under one of the secrets | 401 |
//! | 7 | the body is UTF-8 and one JSON object without repeated known keys; `id` and `type` are readable. An unknown type, a `timestamp` that is missing or unreadable (also one [without an offset](roomz_protocol#accepted-spellings), because UTC is not guessed) and `data` that is missing or unreadable are accepted as [`EventData::Unknown`] | 400 |
//! | 8 | the event is not too old or too new ([`with_max_age`](WebhookLayerBuilder::with_max_age), off by default); an event whose timestamp is unreadable has no known age, and fails this check | 400, or 200 by policy |
//! | 9 | the event can be claimed | next table |
//! | 10 | the service | its own answer |
//!
//! A rejection is `application/problem+json` with a stable `reason` (see [`RejectionKind`]). The
//! [`Rejection`] is also in the response's extensions. Rejections are responses, not errors: the service's
//! error type passes through unchanged.
//!
//! A rejection that is sent before the body was read to its end carries `Connection: close` over HTTP/1,
//! because the server closes such a connection: a proxy must not send the next delivery on it. The layer then
//! reads and drops up to the body limit in up to the body timeout, so that a client that sends everything
//! before it reads receives the rejection. It may lose the rejection of a body that is longer.
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
//! | the process dies | the lease ends; the next delivery is the next attempt |
//! | the store is down or slower than 2 s at the claim | 503 with `Retry-After` (see [`with_fail_open`](WebhookLayerBuilder::with_fail_open)) |
//! | the store is full | 503 with `Retry-After`, under every policy |
//! | the store is down at the completion | the handler's response is sent. The completion is retried in the background for 10 min, and this process detects duplicates itself. At most 10 000 settlements are pending at a time; any more are abandoned, logged and counted |
//! | [`begin_shutdown`](WebhookLayer::begin_shutdown) was called | deliveries are handled; HTTP/1 responses carry `Connection: close` |
//! | [`drain`](WebhookLayer::drain) waits | no handler starts: 503 with `Retry-After` |
//!
//! After a disconnect, the handler goes on in a task of the runtime that received the delivery. If that
//! runtime shuts down, the layer logs a warning. The event stays claimed until its lease ends; then a
//! redelivery can run it.
//!
//! The response's status decides. The event is completed before a streamed response body is sent, so a body
//! that fails later does not release it.
//!
//! # Mounting
//!
//! Put the layer around one route, a router, or a whole server. Around a whole server, set the path with
//! [`with_path`](WebhookLayerBuilder::with_path): requests with other paths then pass through unverified and
//! streaming.
//!
//! <div class="warning">
//!
//! With `with_path`, a path that no request has verifies nothing: a router that removes a prefix (`nest`)
//! changes the path that the layer sees. Prefer the layer on the route. Take the event from the [`Delivery`]
//! or from an extractor of `roomz-axum`, never from the body: then a request that passed unverified fails
//! with 500. After 10 requests with a signature header and other paths, and none with this one, the layer
//! logs the warning `path never matched`, once.
//!
//! </div>
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
//! # tonic
//!
//! Serve the gRPC routes and the webhook with `axum::serve` and axum's features `http1` and `http2`, as the
//! example `tonic` does. tonic's own server (0.14.9) rejects HTTP/1.1 without `accept_http1(true)`, and
//! answers a delivery 200 with `grpc-status: 1` when `Server::timeout`, or the time in a request header
//! `grpc-timeout`, is over: ROOMZ counts a success, also if the handler then fails. Its routes answer unknown
//! paths with 200 and `grpc-status: 12`, so a mistyped path needs the 404 fallback.
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::post};
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! # async fn handler() {}
//! // `grpc`: tonic::service::Routes::new(service).into_axum_router()
//! fn app(grpc: Router, webhook: WebhookLayer) -> Router {
//!     grpc.route("/webhooks/roomz", post(handler).layer(webhook)).fallback(async || StatusCode::NOT_FOUND)
//! }
//! # let webhook = WebhookLayer::new(Secret::new("the webhook secret").unwrap());
//! # let app = app(Router::new(), webhook);
//! # let _ = async |listener: tokio::net::TcpListener| axum::serve(listener, app).await;
//! ```
//!
//! # Composing with other layers
//!
//! **Two handlers for the same events** need two layers with different namespaces. With one cloned layer, the
//! second handler would see every event as a duplicate. The same holds for **two subscriptions with different
//! secrets** on one store: with one namespace, each could mark the other's ids as handled.
//!
//! ```
//! use axum::{Router, routing::post};
//! use roomz_webhook::{Secret, WebhookLayer, store::MokaStore};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = Secret::new("the webhook secret")?;
//! # async fn draw() {}
//! # async fn count() {}
//! let store = MokaStore::new();
//! let layer = |namespace| {
//!     WebhookLayer::builder(secret.clone()).with_store(store.clone()).with_namespace(namespace).build()
//! };
//! let app: Router = Router::new()
//!     .route("/webhooks/floor-plan", post(draw).layer(layer("floor-plan")?))
//!     .route("/webhooks/statistics", post(count).layer(layer("statistics")?));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! **Do not nest layers that share a store and a namespace.** The inner layer waits for the claim of the
//! outer one and answers 503 after 10 s with the reason `in-flight`. A clone directly inside its original
//! passes the request through.
//!
//! **Put middleware that can change the outcome inside the layer**, such as one that commits a transaction. A
//! middleware outside the layer commits after the event was completed: if the commit fails, the event is
//! lost. Inside the layer, return an error status when the commit fails; the event is then released.
//!
//! ```
//! use axum::middleware::{self, Next};
//! use axum::{Router, extract::Request, response::Response, routing::post};
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! async fn transaction(request: Request, next: Next) -> Response {
//!     // Begin. Then commit if the response is a success, and return an error status if the commit fails.
//!     next.run(request).await
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # async fn handler() {}
//! let webhook = WebhookLayer::new(Secret::new("the webhook secret")?);
//! let route = post(handler).route_layer(middleware::from_fn(transaction)).layer(webhook);
//! let app: Router = Router::new().route("/webhooks/roomz", route);
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! **Limit running handlers** with tower's `GlobalConcurrencyLimitLayer` *inside* the layer: it also counts
//! handlers whose client disconnected, and a limit outside does not. `ConcurrencyLimitLayer` creates a
//! separate limit each time it is applied, in axum once per route. An event above the limit is claimed and
//! waits for a running handler to end, without a timeout; duplicates of handled events are answered at once.
//! With `load_shed` between the two layers the service fails instead, and the event is released.
//!
//! ```
//! use http::{Request, Response};
//! use roomz_webhook::{Secret, WebhookBody, WebhookLayer};
//! use tower::{BoxError, ServiceBuilder, limit::GlobalConcurrencyLimitLayer, service_fn};
//!
//! # fn main() -> Result<(), BoxError> {
//! # async fn handle(_: Request<WebhookBody>) -> Result<Response<String>, BoxError> { Ok(Response::new(String::new())) }
//! let service = ServiceBuilder::new()
//!     .layer(WebhookLayer::new(Secret::new("the webhook secret")?))
//!     .layer(GlobalConcurrencyLimitLayer::new(50))
//!     .service(service_fn(handle));
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//!
//! **A timeout outside the layer** answers the request, but the handler keeps running. A timeout inside the
//! layer cancels the handler, and the event is released.
//!
//! **Task-locals of a middleware outside the layer are gone after a disconnect**, because the handler then
//! goes on in another task. Pass values in the request's extensions, or set the task-local in a middleware
//! inside the layer. The current [`tracing`] span is kept. Poll the future of the layer until it ends, or
//! drop it: while nobody polls it, the handler stands still and its lease is not renewed.
//!
//! # Tenants
//!
//! [`WebhookLayer::builder_for_tenants`] creates a layer for several customers, each with its own secrets. It
//! looks up the secrets and the namespace of each request. The example `tenants` shows two customers on one
//! router.
//!
//! # Rotating secrets
//!
//! A [`SecretsHandle`] replaces the secrets while the layer runs. With tenants, replace the tenant in the
//! [`TenantMap`].
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
//! 1 000 000 handled ids for 7 days, in up to 373 MB. `roomz-sql` and `roomz-redis` are shared and durable.
//! For another database implement [`IdempotencyStore`](store::IdempotencyStore); the feature `testing` has
//! its test suite, and the example `custom-store` shows how.
//!
//! # Logs
//!
//! Logs go through [`tracing`] with the target `roomz_webhook`. From the claim on, they are in the span
//! `roomz_webhook` with the fields `event.id`, `event.type` and, for a layer with tenants, `tenant`. Messages
//! are constant; the variable part is in fields, and `hint` says what follows or what to do.
//!
//! | level | messages |
//! |---|---|
//! | ERROR | `store operation failed`, `settlement abandoned`, `tenant lookup failed` (at most once a minute) |
//! | WARN | `event released for a redelivery`, `event has unknown data`, `event has unknown status`, `event id received with another body`, `claim lost`, `claim taken over`, `claim restored`, `lease ceiling reached`, `handler cancelled`, `memory store full` (once per store), `path never matched` (once per layer), `readiness check failed` (at most once a minute), and `delivery rejected` for signed deliveries |
//! | INFO | `unsigned requests rejected` (at most once a minute, with their number), `event handled`, `event skipped` (for example duplicates), and `delivery rejected` when the event is in flight, the store failed, the handler panicked, or `drain` runs |
//! | DEBUG | `delivery rejected` for unsigned requests, which anybody can send, with `body not readable`, `tenant unknown` and further `tenant lookup failed` for their causes; `event accepted` (passed to the service); `store retry failed` |
//! | TRACE | `signature verified` |
//!
//! No log line, answer, `Debug` or error contains a secret, a signature or a body.
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
//! - `metrics`: the following metrics through the [`metrics`](https://docs.rs/metrics) facade. All names
//!   start with `roomz_webhook_`. Install the recorder before you build the layer: then every series exists
//!   with 0 from the start, except those with the label `tenant`, and `increase()` of Prometheus counts the
//!   first event.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `verified_total` | counter | `secret`: `0`, `1`, `2`, `3+`; with tenants also `tenant` | deliveries with a valid signature, by the secret's position and the tenant's namespace |
//! | `accepted_total` | counter | | events passed to the service |
//! | `handled_total` | counter | | of these, answered 2xx by a handler that ran |
//! | `released_total` | counter | | of these, released for a redelivery |
//! | `skipped_total` | counter | `reason`: `duplicate`, `stale`, `ignored` | answered 200 without the handler; `ignored` ones were accepted |
//! | `rejected_total` | counter | `reason` | rejections |
//! | `unknown_total` | counter | | accepted events of an unknown type, or with an unreadable timestamp or data: alert on it to notice when ROOMZ changes something |
//! | `unknown_status_total` | counter | | accepted presence events whose status is neither `Free` nor `Busy`: alert on it as well |
//! | `future_timestamps_total` | counter | | deliveries whose timestamp is more than 5 min in the future; [`Latest`] lets later arrivals replace such an event |
//! | `id_reused_total` | counter | | known ids with another body |
//! | `claims_lost_total` | counter | | claims that the owner no longer held when its handler had succeeded: the event may have been handled twice |
//! | `claims_restored_total` | counter | | claims that the store lost while the handler ran, and that were claimed again: alert on it to notice a store that loses data |
//! | `pending_settlements` | gauge | | settlements that are retried in the background |
//! | `settlements_abandoned_total` | counter | `operation`: `complete`, `release` | settlements that were never recorded |
//! | `tenant_lookup_errors_total` | counter | | tenant lookups that failed |
//! | `store_errors_total` | counter | `operation`: `claim`, `renew`, `complete`, `release` | failed store operations |
//! | `evicted_early_total` | counter | | ids that the memory store evicted before their retention ended |
//! | `in_flight` | gauge | | running handlers |
//! | `event_age_seconds` | histogram | | arrival minus the event's timestamp; 0 for a timestamp in the future; none for an unreadable one |
//! | `store_seconds` | histogram | `operation` | time of a store operation, up to the store timeout; readiness checks are renewals |
//! | `handling_seconds` | histogram | | time in the service, including the wait until it is ready |
//!
//! The minimum supported Rust version is 1.88.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod build_error;
mod builder;
mod call;
mod claim;
mod clock;
mod config;
mod delivery;
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
