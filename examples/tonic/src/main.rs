//! A gRPC service and the ROOMZ webhook on one port: `ROOMZ_WEBHOOK_SECRET=… cargo run -p tonic-example`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use roomz_axum::{Secret, WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Time for requests to finish after the shutdown signal. After it, their connections are closed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for handlers to finish after the server has stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("tonic-example: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let (shutdown, deadline) = (shutdown_signal()?, shutdown_signal()?);
    println!("listening on http://{}", listener.local_addr()?);

    // HTTP/1.1 for the webhook, and HTTP/2 for gRPC.
    let server = axum::serve(listener, tonic_example::app(webhook.clone())).with_graceful_shutdown(shutdown);
    tokio::select! {
        served = server.into_future() => served?,
        // A watching client never ends its stream, so the server would never stop.
        () = async {
            deadline.await;
            sleep(SHUTDOWN_TIMEOUT).await;
        } => {}
    }

    // A handler keeps running when its client disconnects, so handlers can outlive the server.
    timeout(DRAIN_TIMEOUT, webhook.drain()).await.map_err(
        |_| "handlers were still running at shutdown; redelivered events run again once their leases end",
    )?;
    Ok(())
}
