//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p custom-store`

use std::error::Error;
use std::process::ExitCode;

use custom_store::RedbStore;
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;

#[tokio::main]
#[allow(clippy::print_stderr, reason = "this is how a program says why it stops")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custom-store: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "this is the program's output")]
async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let path = std::env::var("CLAIMS").unwrap_or_else(|_| "claims.redb".to_owned());
    let store = RedbStore::open(&path).map_err(|error| format!("cannot open {path}: {error}"))?;
    let webhook = WebhookLayer::builder(secret).with_store(store).build()?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, custom_store::app(webhook.clone())).with_graceful_shutdown(stop).await?;
    webhook.drain().await;
    Ok(())
}
