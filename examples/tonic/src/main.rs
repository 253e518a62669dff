//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p tonic-example`

use std::error::Error;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tonic-example: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::builder(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?).build()?;
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT"))?;
    let (stop, stopping) = watch::channel(false);
    let mut terminate = stop_signal()?;
    println!("listening on http://{}", listener.local_addr()?);

    let mut stopped = stopping.clone();
    let server = Server::builder()
        .accept_http1(true)
        .add_routes(tonic_example::app(webhook.clone()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
    tokio::select! {
        served = server => served?,
        // A client that watches never ends its stream: it is cut off.
        () = async {
            terminate.as_mut().await;
            let _ = stop.send(true);
            tokio::time::sleep(Duration::from_secs(5)).await;
        } => {}
    }
    tokio::time::timeout(Duration::from_secs(3), webhook.drain()).await.map_err(
        |_| "stopped while handlers were running; their events are claimed again when their leases end",
    )?;
    Ok(())
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
