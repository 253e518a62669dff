//! A handler and a router, as without TLS. The certificate is in `certificate.rs`, the server in `serve.rs`.

pub mod certificate;
pub mod serve;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

/// Runs once for each event. When it returns, the event is done; answer with an error status to get it again.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// The application: one route, with the layer around it.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
