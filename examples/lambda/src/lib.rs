//! A handler, a router, and the store that the instances of the function share.

use std::error::Error;

use axum::Router;
use axum::routing::post;
use roomz_axum::{Secret, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use roomz_redis::RedisStore;

/// Runs once for each event. When it returns, the event is done; answer with an error status to get it again.
///
/// Do everything before you return: what a task of your own would do afterwards is frozen with the instance.
async fn presence(WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>) {
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
}

/// The layer, with its claims in Redis, or in the memory of this one instance.
pub async fn webhook(secret: Secret, store: Option<&str>) -> Result<WebhookLayer, Box<dyn Error>> {
    let webhook = WebhookLayer::builder(secret);
    let webhook = match store {
        Some(url) => webhook.with_store(RedisStore::connect(url).await?),
        None => webhook,
    };
    Ok(webhook.build()?)
}

/// The application. A named stage is part of the path: `/prod/webhooks/roomz`.
pub fn app(webhook: WebhookLayer) -> Router {
    Router::new().route("/webhooks/roomz", post(presence).layer(webhook))
}
