//! `ROOMZ_WEBHOOK_SECRET=… STORE=redis://127.0.0.1:6379 cargo run -p shared-store`

use std::error::Error;
use std::process::ExitCode;

use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("shared-store: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let url = std::env::var("STORE").map_err(
        |_| "the environment variable STORE is not set: set it to redis://…, postgres://… or sqlite://FILE",
    )?;
    // `Debug` of this error prints the message and its causes.
    let store = shared_store::store(&url).await.map_err(|error| format!("STORE: {error:?}"))?;
    let webhook = WebhookLayer::builder(secret).with_store(store).build()?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let address = listener.local_addr()?;
    let server = roomz_axum::serve(listener, shared_store::app(webhook.clone()), webhook);
    println!("listening on http://{address}");
    server.await?;
    Ok(())
}
