use axum_core::extract::FromRequestParts;
use http::request::Parts;
use roomz_protocol::{EventData, Payload};

use crate::delivery;
use crate::rejection::{EventRejection, OtherEvent};

/// Extracts the event of a verified delivery.
///
/// `Event` takes every event; `Event<WorkspacePresenceChanged>` only those, and lets others be answered 200 without
/// running the handler.
///
/// ```
/// use roomz_axum::{EventData, WebhookEvent};
///
/// async fn every_type(WebhookEvent(event): WebhookEvent) {
///     match event.data {
///         EventData::WorkspacePresenceChanged(change) => println!("{:?}", change.presence_status),
///         EventData::Unknown(unknown) => println!("{}: {}", event.event_type, unknown.reason()),
///         _ => {}
///     }
/// }
/// ```
#[allow(clippy::exhaustive_structs, reason = "taken apart in a handler's arguments")]
#[derive(Clone, Debug)]
pub struct WebhookEvent<T = EventData>(pub roomz_protocol::Event<T>);

impl<T: Payload, S: Send + Sync> FromRequestParts<S> for WebhookEvent<T> {
    type Rejection = EventRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, EventRejection> {
        let event = delivery::of(parts)?.event();
        event.typed().map(Self).ok_or(EventRejection::OtherEvent(OtherEvent))
    }
}
