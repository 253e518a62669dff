//! The handler, the router, and the store that the instances of the function share.

use std::error::Error;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use roomz_axum::{Rejection, Secret, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use roomz_redis::RedisStore;

/// Handles one event. Returning completes the event. After an error status it runs again if ROOMZ redelivers.
///
/// Finish all work before you return: Lambda freezes the instance, background tasks included.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// Creates the layer, with claims in Redis (`store` is its URL) or in the memory of this instance.
pub async fn webhook(secret: Secret, store: Option<&str>) -> Result<WebhookLayer, Box<dyn Error>> {
    let webhook = WebhookLayer::builder(secret);
    let webhook = match store {
        Some(url) => webhook.with_store(RedisStore::connect(url).await?),
        None => webhook,
    };
    Ok(webhook.build()?)
}

/// Answers the health check of a load balancer: 503 while the store is unavailable.
async fn readyz(webhook: WebhookLayer) -> Result<&'static str, (StatusCode, String)> {
    let unavailable = |rejection: Rejection| (rejection.status(), format!("{rejection}\n"));
    webhook.check_ready().await.map(|()| "ready\n").map_err(unavailable)
}

/// Creates the application. For a named stage, add it to the path: `/prod/webhooks/roomz`.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new()
        .route("/webhooks/roomz", post(presence).layer(webhook.clone()))
        .route("/readyz", get(async move || readyz(webhook).await))
}
