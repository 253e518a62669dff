//! The handler, the router, and the store that the instances share.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_webhook::store::IdempotencyStore;

/// Time between two deletions of expired claims in SQL. Redis expires claims without this.
const PURGE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Connects to the store of this URL. If you use only one kind of store, keep only its arm.
pub async fn store(url: &str) -> Result<Arc<dyn IdempotencyStore>, Box<dyn Error>> {
    match url.split_once(':') {
        Some(("redis" | "rediss", _)) => Ok(Arc::new(RedisStore::connect(url).await?)),
        _ => {
            let store = SqlStore::connect(url).await?;
            tokio::spawn(store.clone().purge_every(PURGE_INTERVAL));
            Ok(Arc::new(store))
        }
    }
}

/// Handles one event. Returning completes the event. After an error status it runs again if ROOMZ redelivers.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// Creates the application. The webhook layer contains the store.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
