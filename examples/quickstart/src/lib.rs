//! The handler and the router.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use roomz_axum::{Rejection, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};

/// Handles one event. Returning completes the event. After an error status it runs again if ROOMZ redelivers.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// Answers a readiness probe: 503 from the beginning of a shutdown on, and while the store is unavailable.
async fn readyz(webhook: WebhookLayer) -> Result<&'static str, (StatusCode, String)> {
    let unavailable = |rejection: Rejection| (rejection.status(), format!("{rejection}\n"));
    webhook.check_ready().await.map(|()| "ready\n").map_err(unavailable)
}

/// Creates the application: the webhook route, wrapped in the layer, and the routes of the probes.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new()
        .route("/webhooks/roomz", post(presence).layer(webhook.clone()))
        .route("/readyz", get(async move || readyz(webhook).await))
        .route("/healthz", get(async || "ok\n"))
}

/// Compiles the Rust code of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
