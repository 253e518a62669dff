//! A store of one's own, and the router that uses it.

mod store;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

pub use store::RedbStore;

async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// The application; the store is in the layer.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
