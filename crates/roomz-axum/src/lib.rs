//! [ROOMZ](https://roomz.io) webhooks in [axum](https://docs.rs/axum): put the [`WebhookLayer`] around a route, and take
//! events as arguments. They are verified, deduplicated and typed when your handler sees them.
//!
//! ```rust
//! use axum::{Router, routing::post};
//! use roomz_axum::{Event, Secret, WebhookLayer, WorkspacePresenceChanged};
//!
//! async fn presence(Event(event): Event<WorkspacePresenceChanged>) {
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
//! Answer with a 2xx when you are done with the event, with anything else when ROOMZ should deliver it again: the layer
//! completes the event or gives it back by your answer. Slow work belongs in the background: ROOMZ waits 30 s.
//!
//! | extractor | gives |
//! |---|---|
//! | [`Event`] | the event, whatever its type |
//! | [`Event<WorkspacePresenceChanged>`](Event) | an event of that type; any other is answered 200 with `roomz-webhook-skipped: ignored`, logged and counted, and the handler does not run |
//! | [`Delivery`] | the event with its raw bytes, the attempt, and which secret matched |
//!
//! They take nothing from the body: use several, and `axum::body::Bytes` as the last if you like. Without the layer in
//! front of the route they answer 500 and say so.
//!
//! Mount the layer on the route, as above. `Router::layer` also runs for unknown paths and wants a signature there;
//! when the layer must wrap more than the route, name the path
//! ([`with_path`](roomz_webhook::WebhookLayerBuilder::with_path)).
//!
//! What the layer checks, what it answers and what it promises is in the documentation of [`roomz_webhook`].
//!
//! # Features
//!
//! `metrics` and `testing` (off): those of [`roomz_webhook`].
//!
//! Needs Rust 1.95, the version it is tested with.

mod delivery;
mod event;
mod rejection;

pub use self::delivery::Delivery;
pub use self::event::Event;
pub use self::rejection::{EventRejection, MissingLayer, OtherEvent};

pub use roomz_webhook::{
    self, EventData, EventId, EventType, MokaStore, PresenceStatus, Secret, Secrets, WebhookLayer,
    WorkspaceId, WorkspacePresenceChanged,
};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
