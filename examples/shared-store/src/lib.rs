//! The handler, the router, and the store that the instances share.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use roomz_axum::{Rejection, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_webhook::store::IdempotencyStore;

/// Connects to the store of this URL. If you use only one kind of store, keep only its arm.
pub async fn store(url: &str) -> Result<Arc<dyn IdempotencyStore>, Box<dyn Error>> {
    match url.split_once(':') {
        Some((scheme, _)) if scheme.starts_with("redis") => Ok(Arc::new(RedisStore::connect(url).await?)),
        _ => Ok(Arc::new(SqlStore::connect(url).await?)),
    }
}

/// Handles one event. Returning completes the event. After an error status it runs again if ROOMZ redelivers.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// Answers a readiness probe: 503 from the beginning of a shutdown on, and while the store is unavailable.
async fn readyz(webhook: WebhookLayer) -> Result<&'static str, (StatusCode, String)> {
    let unavailable = |rejection: Rejection| (rejection.status(), format!("{rejection}\n"));
    webhook.check_ready().await.map(|()| "ready\n").map_err(unavailable)
}

/// Creates the application. The webhook layer contains the store.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new()
        .route("/webhooks/roomz", post(presence).layer(webhook.clone()))
        .route("/readyz", get(async move || readyz(webhook).await))
}
