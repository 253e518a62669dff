//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p custom-store`

use std::error::Error;
use std::process::ExitCode;

use custom_store::RedbStore;
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;

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
    let address = listener.local_addr()?;
    let server = roomz_axum::serve(listener, custom_store::app(webhook.clone()), webhook);
    println!("listening on http://{address}");
    server.await?;
    Ok(())
}
