//! [ROOMZ](https://roomz.io) webhooks for [axum](https://docs.rs/axum): verified, deduplicated, typed events
//! as handler arguments.
//!
//! ```
//! use axum::{Router, routing::post};
//! use roomz_axum::{Secret, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
//!
//! async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
//!     println!("{} is {}", event.data.workspace_id, event.data.presence_status);
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = "the webhook secret";
//! // In a program: Secret::from_env("ROOMZ_WEBHOOK_SECRET")?
//! let webhook = WebhookLayer::new(Secret::new(secret)?);
//! let app: Router = Router::new().route("/webhooks/roomz", post(presence).layer(webhook));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `serve`, [`serve()`] is a server with timeouts, readiness and a graceful shutdown. The
//! example `quickstart` is a complete program.
//!
//! # The handler's answer decides
//!
//! - **2xx completes the event.** It does not come again, so persist its effect before you answer. Work that
//!   a handler spawns is not protected: a crash loses it. For slow work, use `roomz-inbox`.
//! - **Anything else releases the event.** The handler runs again if ROOMZ redelivers.
//!   [`attempt`](Delivery::attempt) counts the attempts. To drop an event you cannot handle, answer 2xx.
//!
//! ROOMZ waits 30 s for an answer (subject to change). A handler that takes longer still finishes.
//!
//! Build one layer and clone it, because each layer has its own store. The default store is in memory:
//! forgotten on restart, not shared between instances. [`roomz_webhook`] documents stores, checks, answers
//! and the at-least-once guarantee.
//!
//! # Extractors
//!
//! | extractor | extracts |
//! |---|---|
//! | [`WebhookEvent`] | the event, of any type |
//! | [`WebhookEvent<WorkspacePresenceChanged>`](WebhookEvent) | an event of that type. Other events, **and events whose data cannot be read as that type**, are answered 200 with `roomz-webhook-skipped: ignored`, logged and counted |
//! | [`WebhookDelivery`] | the event with its raw bytes, the attempt, and the position of the secret that matched |
//!
//! They do not consume the body: combine them, and take `axum::body::Bytes` or `axum::Json` last. Without the
//! layer they answer 500 and name the missing layer. Their rejection is the response, with the [`Skipped`] or
//! the [`Rejection`] in its extensions.
//!
//! # Mounting, and other middleware
//!
//! Put the layer on the route, as above. `Router::layer` runs it for *every* request of the router and
//! answers the others 405 or 401. Around a whole router, set the path with
//! [`with_path`](WebhookLayerBuilder::with_path).
//!
//! To combine the layer with other middleware on the same route, use a `ServiceBuilder`, whose first layer is
//! the outermost. A chain such as `post(handler).layer(from_fn(…)).layer(webhook)` can fail to compile
//! (E0283, `type annotations needed`), because the compiler cannot infer the error type between two layers.
//!
//! ```
//! use axum::middleware::{self, Next};
//! use axum::{Router, extract::Request, response::Response, routing::post};
//! use roomz_axum::{Secret, WebhookEvent, WebhookLayer};
//! use tower::ServiceBuilder;
//!
//! async fn log_request(request: Request, next: Next) -> Response {
//!     println!("{}", request.uri());
//!     next.run(request).await
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let webhook = WebhookLayer::new(Secret::new("the webhook secret")?);
//! let layers = ServiceBuilder::new().layer(middleware::from_fn(log_request)).layer(webhook);
//! let app: Router = Router::new().route("/webhooks/roomz", post(async |_: WebhookEvent| ()).layer(layers));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! Middleware *inside* the layer, which sees verified requests only, is a `route_layer` of the handler:
//! `post(handler).route_layer(from_fn(…)).layer(webhook)`. Put a middleware that commits a transaction there,
//! and see [composing with other layers](roomz_webhook::docs::composing) for two handlers,
//! concurrency limits, timeouts and task-locals.
//!
//! # Health and shutdown
//!
//! A readiness probe calls [`check_ready`](WebhookLayer::check_ready), which fails while the store is
//! unavailable and after [`begin_shutdown`](WebhookLayer::begin_shutdown):
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::{get, post}};
//! use roomz_axum::{Rejection, Secret, WebhookEvent, WebhookLayer};
//!
//! async fn readyz(webhook: WebhookLayer) -> Result<&'static str, (StatusCode, String)> {
//!     let unavailable = |rejection: Rejection| (rejection.status(), rejection.to_string());
//!     webhook.check_ready().await.map(|()| "ready").map_err(unavailable)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let webhook = WebhookLayer::new(Secret::new("the webhook secret")?);
//! let app: Router = Router::new()
//!     .route("/webhooks/roomz", post(async |_: WebhookEvent| ()).layer(webhook.clone()))
//!     .route("/readyz", get(async move || readyz(webhook).await));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! A check takes up to 2 s: give the probe a timeout of 3 s. A liveness probe must not use it, because a
//! restart does not repair the store.
//!
//! # Several customers, changing secrets
//!
//! [`WebhookLayer::builder_for_tenants`] looks up the secrets of each request, and [`SecretsHandle`] replaces
//! the secrets of a running layer. The example `tenants` rotates a secret under load.
//!
//! # Keeping presence
//!
//! ROOMZ does not guarantee an order. [`Latest`] keeps the newest value, so that an older event does not
//! overwrite it:
//!
//! ```
//! use std::collections::HashMap;
//! use roomz_axum::{Event, Latest, PresenceStatus, WorkspaceId, WorkspacePresenceChanged};
//!
//! type Floor = HashMap<WorkspaceId, Latest<PresenceStatus>>;
//!
//! fn apply(floor: &mut Floor, event: Event<WorkspacePresenceChanged>) {
//!     let workspace = floor.entry(event.data.workspace_id).or_default();
//!     workspace.apply(event.id, event.timestamp, event.data.presence_status);
//! }
//! ```
//!
//! # Testing a handler
//!
//! With the feature `testing` in the `dev-dependencies`, tests create deliveries that are signed as ROOMZ
//! signs them:
//!
//! ```
//! # #[cfg(feature = "testing")]
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, routing::post};
//! use roomz_axum::testing::TestEvent;
//! use roomz_axum::{Secret, WebhookEvent, WebhookLayer};
//! use tower::ServiceExt; // for `oneshot`
//!
//! let secret = Secret::new("any secret")?;
//! let webhook = WebhookLayer::new(secret.clone());
//! let app = Router::new().route("/hook", post(async |_: WebhookEvent| "done").layer(webhook));
//!
//! let response = app.oneshot(TestEvent::busy().request::<Body>("/hook", &secret)).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Log
//!
//! Through `tracing`, with targets that begin with `roomz_axum`. The layer has [its own
//! log](roomz_webhook::docs::logs).
//!
//! | message | level | fields |
//! |---|---|---|
//! | `webhook layer missing`, from an extractor | ERROR | `detail` |
//! | `cannot accept a connection`, from `serve` | WARN | `error` |
//! | `connections closed that were still in use at shutdown`, from `serve` | WARN | |
//!
//! # Features
//!
//! All are off by default. `serve` adds [`serve()`]. `compact`, `metrics`, `serde`, `signal` and `testing`
//! enable the features of [`roomz_webhook`].

#![cfg_attr(docsrs, feature(doc_cfg))]

mod close;
mod extract;
#[cfg(feature = "serve")]
mod serve;

pub use self::close::close_unrouted;
pub use self::extract::{WebhookDelivery, WebhookEvent};

#[cfg(feature = "serve")]
pub use self::serve::{Serve, serve};
#[cfg(feature = "metrics")]
pub use roomz_webhook::HISTOGRAM_BUCKETS;
#[cfg(feature = "signal")]
pub use roomz_webhook::shutdown_signal;
#[cfg(feature = "testing")]
pub use roomz_webhook::testing;
pub use roomz_webhook::{
    self, BuildError, Delivery, Event, EventData, EventId, EventType, IdReusePolicy, Latest, LatestOutcome,
    PresenceStatus, Rejection, RejectionKind, Secret, Secrets, SecretsHandle, Skipped, StalePolicy, Tenant,
    TenantLookup, TenantMap, Timestamp, WebhookLayer, WebhookLayerBuilder, WorkspaceId,
    WorkspacePresenceChanged, async_trait, store,
};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
