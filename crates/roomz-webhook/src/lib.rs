//! A tower [`Layer`](tower::Layer) for [ROOMZ](https://roomz.io) webhooks. It buffers the body, checks
//! `Roomz-Signature`, remembers which events were handled, and hands each new one to the service behind it: in axum,
//! tonic, plain hyper or Lambda. With axum, use `roomz-axum`, which adds extractors.
//!
//! ```rust
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
//! // In a real program: Secret::from_env("ROOMZ_WEBHOOK_SECRET")?
//! let layer = WebhookLayer::builder(Secret::new(secret)?).build()?;
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(handle));
//! # drop(service);
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! **No accepted event is lost, and while its id is remembered it takes effect once.** Accepted is what was answered
//! 2xx: its handler has run, or was skipped for a reason in the table below. That is at-least-once delivery with
//! deduplication, not exactly-once: when a process dies after its handler took effect and before the store was
//! told, the redelivery runs the handler again, with [`Delivery::attempt`] above 1. A handler that must not act twice
//! writes its effect and the event's id in one transaction of its own.
//!
//! What it takes: ROOMZ does not document whether or when it delivers again after an answer that is not 2xx. An event
//! that was refused, or whose handler failed, comes back only if ROOMZ sends it again.
//!
//! # What is checked, in this order
//!
//! Cheap before expensive; nothing unsigned touches the store; a refusal never reaches the service.
//!
//! | # | check | otherwise |
//! |---|---|---|
//! | 1 | the method is POST | 405 |
//! | 2 | the body is not compressed (`Content-Encoding`) | 415 |
//! | 3 | there is exactly one signature header, 88 characters of base64 | 401, body not read |
//! | 4 | `Content-Length` is within the limit (256 KiB) | 413, body not read |
//! | 5 | the body is within the limit, and complete in 10 s | 413, 408; 400 if the stream breaks |
//! | 6 | the signature is that of the body under one of the secrets | 401 |
//! | 7 | the body is UTF-8 and one JSON object, no key that is read stands there twice, `id`, `type`, `timestamp`, `data` can be read | 400 |
//! | 8 | the event is not too old or too new ([`with_max_age`](WebhookLayerBuilder::with_max_age), off by default) | 400, or 200 by policy |
//! | 9 | the event can be claimed | see below |
//! | 10 | the service | its own answer |
//!
//! Refusals are `application/problem+json` with a stable `reason` ([`RejectionKind`] lists them), and the [`Rejection`] is
//! in the response's extensions. They are answers, not errors: the service's error type passes through unchanged.
//!
//! # What becomes of an event
//!
//! | situation | answer |
//! |---|---|
//! | first delivery, the handler answers 2xx | the event is completed, then the handler's answer |
//! | the handler answers anything else, fails, or panics | the event is given back, then its answer (500 for a panic); a redelivery runs again |
//! | duplicate of a handled event | 200 with `roomz-webhook-skipped: duplicate`, handler not run |
//! | duplicate while the first one runs | waits up to 10 s for it: 200 if it succeeded, runs itself if it failed; else 503 and `Retry-After` |
//! | known id with another body | as a duplicate, with a warning and a metric ([`IdReusePolicy`]: or as an event of its own, or 409) |
//! | the client goes away while the handler runs | the handler finishes in the background ([`drain`](WebhookLayer::drain) waits for it) |
//! | the handler takes longer than the lease (60 s) | the lease is renewed, for up to 10 min, unless the handler blocks its thread |
//! | the process dies | the lease ends; the next delivery is attempt 2 |
//! | the store is down or takes longer than 2 s at the claim | 503 and `Retry-After` ([`StoreFailurePolicy`]: or handled all the same) |
//! | the store is down at the completion | the handler's answer stands; completing is tried again in the background for 10 min, and meanwhile this process knows the duplicate itself |
//!
//! The answer counts as given with its head: a body that the service streams is sent after the event was completed.
//!
//! # Where it is mounted
//!
//! Around one route, a whole router or a whole server. Around a whole server, name the path
//! ([`with_path`](WebhookLayerBuilder::with_path)): other requests then pass through unread and streaming.
//!
//! ```rust,no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = roomz_webhook::Secret::new("the webhook secret")?;
//! let layer = roomz_webhook::WebhookLayer::builder(secret).with_path("/webhooks/roomz").build()?;
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! It needs a tokio runtime with time enabled. A layer cannot bound how long a client takes to send the request's
//! *head*: set a header timeout in the server (the example `quickstart` shows how). On Lambda the process is frozen
//! after an answer, so what runs in the background stops until the next request.
//!
//! # The store
//!
//! [`MokaStore`](store::MokaStore), the default, is this process's memory: forgotten on restart, not shared, at most 100 000 handled ids
//! for 7 days. For anything else implement [`IdempotencyStore`](store::IdempotencyStore); the feature `testing` has the suite to test it with,
//! and the example `custom-store` is one.
//!
//! # Features
//!
//! - `metrics` (off): counts through the [`metrics`](https://docs.rs/metrics) facade, all named `roomz_webhook_…`:
//!
//! | name | kind | labels | counts |
//! |---|---|---|---|
//! | `verified_total` | counter | `secret`: `0`, `1`, `2`, `3+` | deliveries whose signature matched, by the secret's position |
//! | `accepted_total` | counter | | events handed to the service |
//! | `handled_total` | counter | | of these, answered 2xx by a handler that ran |
//! | `released_total` | counter | | of these, given back |
//! | `skipped_total` | counter | `why`: `duplicate`, `stale`, `ignored` | answered 200 without the handler; `ignored` ones were accepted |
//! | `rejected_total` | counter | `reason` | refusals |
//! | `unknown_total` | counter | | accepted events without a type for their data: an alert on it tells when ROOMZ changes something |
//! | `id_reused_total` | counter | | known ids with another body |
//! | `lost_total` | counter | | claims taken over before they were settled |
//! | `store_errors_total` | counter | `operation`: `claim`, `renew`, `complete`, `release` | failures of the store |
//! | `evicted_early_total` | counter | | ids that the moka store dropped before their time |
//! | `in_flight` | gauge | | handlers running |
//! | `event_age_seconds` | histogram | | arrival minus the event's timestamp |
//! | `handling_seconds` | histogram | | time in the service |
//!
//! - `signal` (off): [`shutdown_signal`], for the graceful shutdown of a server.
//! - `testing` (off): a clock that tests move, the contract suite for stores, and signed test deliveries.
//!
//! Logs go through `tracing`; from the claim on, in a span that names the event's id and type. No log line, answer,
//! `Debug` or error holds a secret, a signature or a body.
//!
//! Needs Rust 1.95, the version it is tested with.

mod accept;
mod answer;
mod ask;
mod background;
mod body;
mod builder;
mod claim;
mod clock;
mod delivery;
mod detach;
mod drain;
mod fresh;
mod hand_over;
mod head;
mod layer;
mod measure;
mod read;
mod refusal;
mod response;
mod service;
mod settings;
mod settle;
#[cfg(feature = "signal")]
mod signal;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod waiting;

pub use self::answer::Skipped;
pub use self::body::WebhookBody;
pub use self::builder::{BuildError, BuildErrorKind, WebhookLayerBuilder};
pub use self::clock::{Clock, SystemClock};
pub use self::delivery::Delivery;
pub use self::layer::WebhookLayer;
pub use self::refusal::{Rejection, RejectionKind};
pub use self::response::ResponseBody;
pub use self::service::{ResponseFuture, Webhook};
pub use self::settings::{IdReusePolicy, StalePolicy, StoreFailurePolicy};
#[cfg(feature = "signal")]
pub use self::signal::shutdown_signal;
pub use roomz_protocol::{
    self, Event, EventData, EventId, EventType, Latest, LatestOutcome, PresenceStatus, Secret, Secrets,
    Timestamp, WorkspaceId, WorkspacePresenceChanged,
};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
