//! Receives ROOMZ webhooks. README.md describes the settings.

mod app;
{{if grpc}}
mod grpc;
{{end}}
#[cfg(test)]
mod tests;

{{if !inbox}}
use std::error::Error;
{{end}}
{{if inbox}}
use std::time::Duration;
{{end}}

{{if !inbox}}
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use roomz_axum::{WebhookEvent, WebhookLayer, WorkspacePresenceChanged};
{{end}}
{{if inbox}}
use roomz_axum::{WebhookLayer, WorkspacePresenceChanged};
use roomz_inbox::{BoxError, Inbox, Job};
{{end}}
{{if redis}}
use roomz_redis::RedisStore;
{{end}}
{{if sql !inbox}}
use roomz_sql::SqlStore;
{{end}}
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

{{if inbox}}
/// Handles one event. What it writes into `job.{{store}}().await?`, the connection of a transaction, and the
/// completion of the event are one commit: make it `mut job`, add `sqlx`, and change the tests (README.md).
/// After an error the event runs again, later.
async fn presence(job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    let event = job.event();
{{end}}
{{if !inbox}}
type BoxError = Box<dyn Error + Send + Sync>;

/// The handler failed. The answer is 500: the event runs again if ROOMZ redelivers it.
struct Failed(BoxError);

impl<E: Into<BoxError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        tracing::error!("the handler failed: {}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// Handles one event. Persist its effect before you return `Ok`: it then does not come again.
async fn presence(
    WebhookEvent(event): WebhookEvent<WorkspacePresenceChanged>,
) -> Result<(), Failed> {
{{end}}
    let (workspace, status) = (event.data.workspace_id, &event.data.presence_status);
    tracing::info!(id = %event.id, %workspace, %status, "presence changed");
{{if grpc}}
    app::publish(workspace.to_string(), status.to_string());
{{end}}
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let filter = EnvFilter::new(setting("RUST_LOG", "{{filter}}"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    // Before the layer, so that every series exists from the start.
    let metrics = app::install_exporter()?;

    let secrets = app::secrets()?;
{{if memory}}
    let webhook = WebhookLayer::new(secrets);
{{end}}
{{if sql !inbox}}
    let url = setting("DATABASE_URL", "{{url}}");
    let store = SqlStore::connect(url).await?;
    let webhook = WebhookLayer::builder(secrets).with_store(store).build()?;
{{end}}
{{if redis}}
    let store = RedisStore::connect(&setting("REDIS_URL", "{{url}}")).await?;
    let webhook = WebhookLayer::builder(secrets).with_store(store).build()?;
{{end}}
{{if !inbox}}
    let app = app::app(webhook.clone(), metrics);
{{end}}
{{if inbox}}
    let webhook = WebhookLayer::new(secrets);
    let url = setting("DATABASE_URL", "{{url}}");
    let inbox = Inbox::connect(url).await?;
    let worker = inbox.worker(tower::service_fn(presence)).start();
    let app = app::app(webhook.clone(), metrics, &inbox);
{{end}}
    let address = setting("LISTEN", "127.0.0.1:3000");
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen at LISTEN={address}: {error}"))?;
    tracing::info!(%address, "listening");
{{if !grpc}}
    let served = roomz_axum::serve(listener, app, webhook).await;
{{end}}
{{if grpc}}
    let grpc = app::serve_grpc(setting("GRPC_LISTEN", "127.0.0.1:3001"));
    let server = roomz_axum::serve(listener, app, webhook);
    // A watching client never ends its stream: the gRPC service ends with the other server.
    let served = tokio::select! {
        served = server.into_future() => served.map_err(BoxError::from),
        served = grpc => served,
    };
{{end}}
{{if inbox}}
    worker.shutdown(Duration::from_secs(5)).await;
{{end}}
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// Returns the value of an environment variable, or else the default.
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
