//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p custom-store`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use custom_store::RedbStore;
use roomz_axum::{Secret, WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;

/// Time for handlers to finish after the server has stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("custom-store: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let path = std::env::var("CLAIMS").unwrap_or_else(|_| "claims.redb".to_owned());
    let store = RedbStore::open(&path)
        .map_err(|error| format!("cannot open {path:?}: {error}; set CLAIMS to a redb file or a new file"))?;
    let webhook = WebhookLayer::builder(secret).with_store(store).build()?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let shutdown = shutdown_signal()?;
    println!("listening on http://{}", listener.local_addr()?);
    // For production, use the server of `quickstart`: this one has neither a header timeout nor a shutdown
    // timeout.
    axum::serve(listener, custom_store::app(webhook.clone())).with_graceful_shutdown(shutdown).await?;

    // A handler keeps running when its client disconnects, so handlers can outlive the server.
    tokio::time::timeout(DRAIN_TIMEOUT, webhook.drain()).await.map_err(
        |_| "handlers were still running at shutdown; redelivered events run again once their leases end",
    )?;
    Ok(())
}
