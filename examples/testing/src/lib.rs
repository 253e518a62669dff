//! A small application to test: it applies each event to a floor plan.

mod plan;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

pub use plan::{Change, FloorPlan, MemoryPlan, Unavailable};

/// Handles one event. If the plan cannot be written, the claim is released, and a redelivery runs the handler
/// again.
async fn presence(
    State(plan): State<Arc<dyn FloorPlan>>,
    WebhookDelivery(delivery): WebhookDelivery,
    WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>,
) -> Result<(), StatusCode> {
    let change = Change {
        workspace: event.data.workspace_id,
        status: event.data.presence_status,
        timestamp: event.timestamp,
        attempt: delivery.attempt(),
    };
    plan.apply(change).map_err(|Unavailable| StatusCode::SERVICE_UNAVAILABLE)
}

/// Creates the application. Tests pass their own layer and plan.
pub fn app(webhook: WebhookLayer, plan: Arc<dyn FloorPlan>) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook)).with_state(plan)
}
