//! A handler that inserts a row and completes its event in one transaction.

use std::error::Error;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use roomz_axum::{Secret, WebhookDelivery, WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
use roomz_sql::{SqlStore, postgres_options};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

pub type BoxError = Box<dyn Error + Send + Sync>;

/// The handler failed. The answer is 500: the event is released, and runs again if ROOMZ redelivers it.
struct Failed(BoxError);

impl<E: Into<BoxError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        eprintln!("the handler failed: {}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

async fn record(
    State(pool): State<PgPool>,
    WebhookDelivery(delivery): WebhookDelivery,
    WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>,
) -> Result<(), Failed> {
    let mut transaction = pool.begin().await?;
    sqlx::query("INSERT INTO visits (event_id, workspace_id, status) VALUES ($1, $2, $3)")
        .bind(event.id.to_string())
        .bind(event.data.workspace_id.to_string())
        .bind(event.data.presence_status.to_string())
        .execute(&mut *transaction)
        .await?;
    roomz_sql::complete(&mut *transaction, &delivery).await?;
    transaction.commit().await?;
    Ok(())
}

/// Connects to the database of the claims and of the table, and creates the application and its layer.
pub async fn app(secret: Secret, url: &str) -> Result<(Router, WebhookLayer), BoxError> {
    let store = SqlStore::connect(url).await?;
    // Without this limit, a process that is paused in its transaction blocks the event until it continues.
    let options = postgres_options(url)?.options([("idle_in_transaction_session_timeout", "30s")]);
    let pool = PgPoolOptions::new().max_connections(8).connect_with(options).await?;
    // In a larger service, your migrations do this.
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS visits (event_id TEXT, workspace_id TEXT, status TEXT)")
        .execute(&pool)
        .await?;
    let webhook = WebhookLayer::builder(secret).with_store(store).build()?;
    let app = Router::new().route("/webhooks/roomz", post(record).layer(webhook.clone())).with_state(pool);
    Ok((app, webhook))
}
