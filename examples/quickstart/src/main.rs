//! A complete server for ROOMZ webhooks: `ROOMZ_WEBHOOK_SECRET=… cargo run -p quickstart`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    // An error returned from `main` would print its `Debug` form.
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("quickstart: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
    let app = quickstart::app(webhook.clone());

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let delay = shutdown_delay()?;
    let address = listener.local_addr()?;
    let server = roomz_axum::serve(listener, app, webhook).with_shutdown_delay(delay);
    println!("listening on http://{address}");
    server.await?;
    Ok(())
}

/// Returns the time between the signal and the end of the server, from the variable `SHUTDOWN_DELAY`.
fn shutdown_delay() -> Result<Duration, String> {
    let Ok(value) = std::env::var("SHUTDOWN_DELAY") else { return Ok(Duration::ZERO) };
    let seconds = value.parse().map_err(|_| {
        format!("SHUTDOWN_DELAY is {value:?}: set it to a whole number of seconds, such as 5")
    })?;
    Ok(Duration::from_secs(seconds))
}
