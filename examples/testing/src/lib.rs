//! A small application to test: each event is written down on a floor plan.

mod plan;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

pub use plan::{Change, FloorPlan, MemoryPlan, Unavailable};

/// Runs once for each event. When the plan cannot be written, the event is given back, and comes again if ROOMZ
/// delivers it again.
async fn presence(
    State(plan): State<Arc<dyn FloorPlan>>,
    WebhookDelivery(delivery): WebhookDelivery,
    WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>,
) -> Result<(), StatusCode> {
    let change = Change {
        workspace: event.data.workspace_id,
        status: event.data.presence_status,
        when: event.timestamp,
        attempt: delivery.attempt(),
    };
    plan.apply(change).map_err(|Unavailable| StatusCode::SERVICE_UNAVAILABLE)
}

/// The application. A test gives it a layer and a plan of its own.
pub fn app(webhook: WebhookLayer, plan: Arc<dyn FloorPlan>) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook)).with_state(plan)
}
