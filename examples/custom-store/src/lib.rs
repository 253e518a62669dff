//! A custom store, and the router that uses it.

mod store;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

pub use store::RedbStore;

/// Handles one event. Returning completes the event. After an error status it runs again if ROOMZ redelivers.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// Creates the application. The webhook layer contains the store.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
