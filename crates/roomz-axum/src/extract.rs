use axum_core::extract::FromRequestParts;
use axum_core::response::Response;
use http::request::Parts;
use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::{Delivery, Event, EventData, Rejection, RejectionKind, Skipped};

/// Extractor for the event of a verified delivery.
///
/// `WebhookEvent` extracts every event. `WebhookEvent<WorkspacePresenceChanged>` extracts events of that type
/// only: any other event is answered 200 with `roomz-webhook-skipped: ignored`, and the handler does not run.
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
#[allow(clippy::exhaustive_structs, reason = "handlers destructure it")]
#[derive(Clone, Debug)]
pub struct WebhookEvent<T: Payload = EventData>(pub Event<T>);

impl<T: Payload, S: Send + Sync> FromRequestParts<S> for WebhookEvent<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let delivery: &Delivery = parts.extensions.get().ok_or_else(missing_layer)?;
        // Anything but a 2xx would be a failed delivery for ROOMZ.
        delivery.event().typed().map(Self).ok_or_else(|| Skipped::Ignored.into_response())
    }
}

/// Extractor for a verified delivery: the event, its raw bytes, the attempt, and the position of the secret
/// that matched.
///
/// ```
/// use roomz_axum::WebhookDelivery;
///
/// async fn archive(WebhookDelivery(delivery): WebhookDelivery) {
///     println!("{} bytes, attempt {}", delivery.body().len(), delivery.attempt());
/// }
/// ```
#[allow(clippy::exhaustive_structs, reason = "handlers destructure it")]
#[derive(Clone, Debug)]
pub struct WebhookDelivery(pub Delivery);

impl<S: Send + Sync> FromRequestParts<S> for WebhookDelivery {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        parts.extensions.get().cloned().map(Self).ok_or_else(missing_layer)
    }
}

fn missing_layer() -> Response {
    let rejection = Rejection::new(RejectionKind::MissingLayer);
    tracing::error!(detail = %rejection, "webhook layer missing");
    rejection.into_response()
}
