//! [ROOMZ](https://roomz.io) webhooks in [axum](https://docs.rs/axum): put the [`WebhookLayer`] around a route, and take
//! events as arguments. They are verified, deduplicated and typed when your handler sees them.
//!
//! ```rust
//! use axum::{Router, routing::post};
//! use roomz_axum::{Secret, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
//!
//! async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
//!     println!("{} is {}", event.data.workspace_id, event.data.presence_status);
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = "the webhook secret";
//! // In a real program: Secret::from_env("ROOMZ_WEBHOOK_SECRET")?
//! let webhook = WebhookLayer::builder(Secret::new(secret)?).build()?;
//! let app: Router = Router::new().route("/webhooks/roomz", post(presence).layer(webhook));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! **The answer decides.** With a 2xx the event is done and will not come again: write it down before you answer,
//! because what you do afterwards, in a task of your own say, is not protected any more. With anything else the event
//! is given back, and the handler runs again if ROOMZ delivers it again. To be rid of an event that cannot be handled,
//! answer 2xx ([`attempt`](roomz_webhook::Delivery::attempt) tells how often it was tried). ROOMZ waits 30 s for an
//! answer (subject to change); a handler that takes longer still finishes.
//!
//! Build one layer and clone it: each `build()` has a store of its own. The default store is memory, which forgets on
//! restart and is not shared between instances; see [`roomz_webhook`] for that, for what is promised (at-least-once),
//! and for [`drain`](WebhookLayer::drain) at shutdown. The example `quickstart` is a complete program.
//!
//! | extractor | gives |
//! |---|---|
//! | [`Event`] | the event, whatever its type |
//! | [`Event<WorkspacePresenceChanged>`](Event) | an event of that type; any other, **and one whose data cannot be read as that type**, is answered 200 with `roomz-webhook-skipped: ignored`, logged and counted, and the handler does not run |
//! | [`Delivery`] | the event with its raw bytes, the attempt, and which secret matched |
//!
//! They take nothing from the body: use several, and `axum::body::Bytes` as the last if you like. Without the layer in
//! front of the route they answer 500 and say so.
//!
//! Mount the layer on the route, as above. Around a whole router (`Router::layer`) it takes *every* request for a
//! delivery and answers the others 405 or 401; there, name the path
//! ([`with_path`](roomz_webhook::WebhookLayerBuilder::with_path)).
//!
//! # In functions of your own
//!
//! The extractors wrap the types of [`roomz_webhook`], which is where functions take them from:
//!
//! ```
//! use std::collections::HashMap;
//! use roomz_axum::{Latest, PresenceStatus, WorkspaceId, WorkspacePresenceChanged, roomz_webhook};
//!
//! type Floor = HashMap<WorkspaceId, Latest<PresenceStatus>>;
//!
//! /// ROOMZ promises no order: an older event does not overwrite a newer one.
//! fn apply(floor: &mut Floor, event: roomz_axum::Event<WorkspacePresenceChanged>) {
//!     let workspace = floor.entry(event.data.workspace_id).or_default();
//!     workspace.apply(event.id, event.timestamp, event.data.presence_status);
//! }
//! ```
//!
//! # Testing a handler
//!
//! With the feature `testing` in the `dev-dependencies`, deliveries are made and signed as ROOMZ would:
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
//! let webhook = WebhookLayer::builder(secret.clone()).build()?;
//! let app = Router::new().route("/hook", post(async |_: WebhookEvent| "done").layer(webhook));
//!
//! let response = app.oneshot(TestEvent::busy().request::<Body>("/hook", &secret)).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! What the layer checks, what it answers and what it promises is in the documentation of [`roomz_webhook`].
//!
//! # Features
//!
//! `metrics`, `signal` and `testing` (off): those of [`roomz_webhook`].
//!
//! Needs Rust 1.95, the version it is tested with.

mod delivery;
mod event;
mod rejection;

pub use self::delivery::WebhookDelivery;
pub use self::event::WebhookEvent;
pub use self::rejection::{EventRejection, MissingLayer, OtherEvent};

pub use roomz_webhook::{
    self, BuildError, Delivery, Event, EventData, EventId, EventType, Latest, LatestOutcome, PresenceStatus,
    Rejection, RejectionKind, Secret, Secrets, Skipped, Timestamp, WebhookLayer, WebhookLayerBuilder,
    WorkspaceId, WorkspacePresenceChanged, store,
};

#[cfg(feature = "signal")]
pub use roomz_webhook::shutdown_signal;
#[cfg(feature = "testing")]
pub use roomz_webhook::testing;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
