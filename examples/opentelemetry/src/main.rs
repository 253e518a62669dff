//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p opentelemetry-example`

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_example::{app, handle};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use roomz_axum::{Secret, WebhookLayer};
use roomz_inbox::Inbox;
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The collector: OTEL_EXPORTER_OTLP_ENDPOINT, or else http://localhost:4317.
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("roomz-receiver").build())
        .build();
    tracing_subscriber::registry()
        .with(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn")))
        .with(fmt::layer().with_writer(std::io::stderr))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("roomz-receiver")))
        .init();

    let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
    let inbox = Inbox::connect("sqlite://inbox.db").await?;
    let worker = inbox.worker(tower::service_fn(handle)).start();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let served = roomz_axum::serve(listener, app(webhook.clone(), &inbox), webhook).await;
    worker.shutdown(Duration::from_secs(5)).await;
    // Sends the last spans.
    provider.shutdown()?;
    Ok(served?)
}
