//! The handler and the router. `table.rs` creates the handler's table.

pub mod table;

use axum::Router;
use axum::routing::post_service;
use roomz_axum::WebhookLayer;
use roomz_inbox::{BoxError, Inbox, Job, WorkspacePresenceChanged};

const INSERT: &str = "INSERT INTO presence_log (event_id, workspace_id, status, handled_at) \
                      VALUES ($1, $2, $3, CURRENT_TIMESTAMP)";

/// Handles one event. The worker commits the row together with the completion of the event, so each event has
/// one row.
///
/// If you use only one database, keep only its branch. Call slow services before it, while no transaction is
/// open.
pub async fn record(mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    let event = job.event().clone();
    let (id, workspace) = (event.id.to_string(), event.data.workspace_id.to_string());
    let status = event.data.presence_status.to_string();
    if job.is_postgres() {
        // Behind PgBouncer in transaction mode, a persistent statement fails.
        let query = sqlx::query(INSERT).persistent(false).bind(id).bind(workspace).bind(status);
        query.execute(job.postgres().await?).await?;
    } else {
        let query = sqlx::query(INSERT).bind(id).bind(workspace).bind(status);
        query.execute(job.sqlite().await?).await?;
    }
    println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status);
    Ok(())
}

/// Creates the application: the endpoint of the inbox, wrapped in the webhook layer.
pub fn app(webhook: WebhookLayer, inbox: &Inbox) -> Router {
    Router::new().route("/webhooks/roomz", post_service(inbox.endpoint()).layer(webhook))
}
