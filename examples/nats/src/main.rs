//! The receiver: `ROOMZ_WEBHOOK_SECRET=… NATS_URL=nats://127.0.0.1:4222 cargo run -p nats`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use nats::broker::Broker;
use roomz_axum::{Secret, WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Time for handlers to finish after the server has stopped. Storing an event takes at most 5 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("nats: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let broker = Broker::from_env().await?;
    let webhook = WebhookLayer::new(secret);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let shutdown = shutdown_signal()?;
    println!("listening on http://{}", listener.local_addr()?);
    // For production, use the server of `quickstart`: this one has neither a header timeout nor a shutdown
    // timeout.
    axum::serve(listener, nats::app(webhook.clone(), broker)).with_graceful_shutdown(shutdown).await?;

    // A handler keeps running when its client disconnects, so handlers can outlive the server.
    tokio::time::timeout(DRAIN_TIMEOUT, webhook.drain())
        .await
        .map_err(|_| "handlers were still running at shutdown; redelivered events are published again")?;
    Ok(())
}
