//! Several customers, each with its own webhook secrets, on one router.

pub mod secret_files;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

/// Handles one event. The namespace is the customer's name.
async fn presence(
    WebhookDelivery(delivery): WebhookDelivery,
    WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>,
) {
    println!("{}: {} is {}", delivery.namespace(), event.data.workspace_id, event.data.presence_status);
}

/// Creates the application: one route for all customers. The layer finds the customer by the path.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/{tenant}", post(presence).layer(webhook))
}
