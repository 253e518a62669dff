//! A router, and the store that its instances share.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_webhook::store::IdempotencyStore;

/// Connects to the store of this URL. A receiver that has settled on one kind needs one of the two arms.
pub async fn store(url: &str) -> Result<Arc<dyn IdempotencyStore>, Box<dyn Error>> {
    match url.split_once(':') {
        Some(("redis" | "rediss", _)) => Ok(Arc::new(RedisStore::connect(url).await?)),
        _ => {
            let store = SqlStore::connect(url).await?;
            tokio::spawn(store.clone().purge_every(Duration::from_secs(10 * 60)));
            Ok(Arc::new(store))
        }
    }
}

async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// The application; the store is in the layer.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
