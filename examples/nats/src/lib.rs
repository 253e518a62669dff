//! The handler and the router of the receiver. `broker.rs` stores events, `consumer.rs` handles them.

pub mod broker;
pub mod consumer;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookLayer};

use crate::broker::{Broker, Published};

/// The `Retry-After` of an event that could not be stored, in seconds.
const RETRY_AFTER: &str = "5";

/// Answers 2xx once the event is stored. After the 503, the layer releases the event: a redelivery is
/// published again.
async fn publish(State(broker): State<Broker>, WebhookDelivery(delivery): WebhookDelivery) -> Response {
    let id = delivery.event().id;
    match broker.publish(id, delivery.body()).await {
        Ok(Published::New) => StatusCode::ACCEPTED.into_response(),
        Ok(Published::Duplicate) => StatusCode::OK.into_response(),
        Err(error) => {
            tracing::error!(event_id = %id, %error, hint = error.hint(), "event not stored");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)]).into_response()
        }
    }
}

/// Creates the application: one route, wrapped in the webhook layer.
pub fn app(webhook: WebhookLayer, broker: Broker) -> Router {
    Router::new().route("/webhooks/roomz", post(publish).layer(webhook)).with_state(broker)
}
