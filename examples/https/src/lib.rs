//! The handler and the router. `certificate.rs` reloads the certificate, and `serve.rs` is the server.

pub mod certificate;
pub mod serve;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

/// Handles one event. Returning completes the event. After an error status it runs again if ROOMZ redelivers.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// Creates the application: one route, wrapped in the webhook layer.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
