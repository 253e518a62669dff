//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p quickstart`

mod serve;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
#[allow(clippy::print_stderr, reason = "this is how a program says why it stops")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "this is the program's output")]
async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::builder(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?).build()?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT, port 0 for any free one")
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("listening on http://{}", listener.local_addr()?);

    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let served = serve::serve(listener, quickstart::app(webhook.clone()), stop).await;
    // Handlers whose client went away may still be running.
    tokio::time::timeout(Duration::from_secs(10), webhook.drain()).await?;
    Ok(served?)
}
