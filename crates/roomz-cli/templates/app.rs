//! The routes: the webhook, the probes and the metrics.

{{if grpc}}
use std::sync::LazyLock;
{{end}}
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
{{if !inbox}}
use axum::routing::{get, post};
{{end}}
{{if inbox}}
use axum::routing::{get, post_service};
{{end}}
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use roomz_axum::{HISTOGRAM_BUCKETS, Rejection, Secret, Secrets, WebhookLayer};
{{if inbox}}
use roomz_inbox::Inbox;
{{end}}
{{if grpc}}
use tonic::transport::Server;
{{end}}

use crate::BoxError;
{{if grpc}}
use crate::grpc::generated::presence_server::PresenceServer;
use crate::grpc::{CHANGES_BUFFERED, Changes, PresenceChange, Watcher};
{{end}}
{{if !inbox}}
use crate::presence;
{{end}}

{{if grpc}}
/// From the handler to the clients of the gRPC service.
pub static CHANGES: LazyLock<Changes> = LazyLock::new(|| Changes::new(CHANGES_BUFFERED));

/// Sends a change to all watching clients.
pub fn publish(workspace_id: String, status: String) {
    // Fails when no client is watching, which is not an error.
    let _ = CHANGES.send(PresenceChange {
        workspace_id,
        status,
    });
}

/// Serves the gRPC service on a port of its own.
pub async fn serve_grpc(address: String) -> Result<(), BoxError> {
    let watcher = PresenceServer::new(Watcher(CHANGES.clone()));
    Server::builder()
        .add_service(watcher)
        .serve(address.parse()?)
        .await?;
    Ok(())
}

{{end}}
/// Returns the secret, and during a rotation the previous one too.
pub fn secrets() -> Result<Secrets, BoxError> {
    let mut secrets = vec![Secret::from_env("ROOMZ_WEBHOOK_SECRET")?];
    if std::env::var_os("ROOMZ_WEBHOOK_SECRET_OLD").is_some() {
        secrets.push(Secret::from_env("ROOMZ_WEBHOOK_SECRET_OLD")?);
    }
    Ok(Secrets::new(secrets)?)
}

/// Answers a readiness probe: 503 during a shutdown, and while the layer's store is unavailable.
async fn readyz(webhook: WebhookLayer) -> Result<&'static str, (StatusCode, String)> {
    let unavailable = |rejection: Rejection| (rejection.status(), format!("{rejection}\n"));
    webhook
        .check_ready()
        .await
        .map(|()| "ready\n")
        .map_err(unavailable)
}

/// Returns the exporter of the metrics, with the buckets that the alerts need.
pub fn exporter() -> Result<PrometheusBuilder, BuildError> {
    let mut exporter = PrometheusBuilder::new();
    for &(name, buckets) in HISTOGRAM_BUCKETS {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
    }
    Ok(exporter)
}

/// Installs the exporter of the metrics.
pub fn install_exporter() -> Result<PrometheusHandle, BuildError> {
    let metrics = exporter()?.install_recorder()?;
    let handle = metrics.clone();
    // Without it, the memory of the exporter grows while nobody asks for `/metrics`.
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            handle.run_upkeep();
        }
    });
    Ok(metrics)
}

/// Creates the application.
{{if inbox}}
pub fn app(webhook: WebhookLayer, metrics: PrometheusHandle, inbox: &Inbox) -> Router {
    let receive = post_service(inbox.endpoint()).layer(webhook.clone());
{{end}}
{{if !inbox}}
pub fn app(webhook: WebhookLayer, metrics: PrometheusHandle) -> Router {
    let receive = post(presence).layer(webhook.clone());
{{end}}
    Router::new()
        .route("/webhooks/roomz", receive)
        .route("/readyz", get(async move || readyz(webhook).await))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(async move || metrics.render()))
}
