//! `ROOMZ_WEBHOOK_SECRET=… STORE=redis://127.0.0.1:6379 cargo run -p shared-store`

use std::error::Error;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shared-store: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let url = std::env::var("STORE").map_err(|_| "set STORE to redis://…, postgres://… or sqlite:FILE")?;
    let store =
        shared_store::store(&url).await.map_err(|error| format!("STORE: {}", with_source(&*error)))?;
    let webhook = WebhookLayer::builder(secret).with_store(store).build()?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT"))?;
    let stop = stop_signal()?;
    println!("listening on http://{}", listener.local_addr()?);
    // Without limits of its own: see `quickstart` for a server that has them.
    axum::serve(listener, shared_store::app(webhook.clone())).with_graceful_shutdown(stop).await?;
    tokio::time::timeout(Duration::from_secs(3), webhook.drain()).await.map_err(
        |_| "stopped while handlers were running; their events are claimed again when their leases end",
    )?;
    Ok(())
}

/// The error and what caused it, which says in turn what caused that.
fn with_source(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error} ({source})"))
}

/// Resolves when the process is asked to end: Ctrl-C, or a service manager's SIGTERM.
fn stop_signal() -> std::io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Box::pin(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }))
    }
    #[cfg(not(unix))]
    Ok(Box::pin(async {
        let _ = tokio::signal::ctrl_c().await;
    }))
}
