//! A server for ROOMZ webhooks in hyper: `ROOMZ_WEBHOOK_SECRET=… cargo run -p hyper-example`

use std::error::Error;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use roomz_webhook::{Secret, WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

/// Time for a client to send the head of a request. It also limits how long a connection stays idle, so it is
/// longer than senders keep an idle connection (.NET 60 s): one that closes takes a delivery with it.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Pause after an error of `accept`, which is most often "too many open files".
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// Time for requests to finish after the shutdown signal. After it, their connections are closed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);
/// Time for handlers to finish after the server has stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("hyper-example: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let webhook = WebhookLayer::builder(secret).with_path("/webhooks/roomz").build()?;
    let app = hyper_example::app(&webhook);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let mut shutdown = pin!(shutdown_signal()?);
    println!("listening on http://{}", listener.local_addr()?);

    let mut server = http1::Builder::new();
    // hyper has no timeouts without a timer.
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    eprintln!("cannot accept a connection: {error}");
                    sleep(ACCEPT_BACKOFF).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let service = TowerToHyperService::new(app.clone());
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service));
        // An error affects only this connection, and its client notices it.
        tokio::spawn(connection);
    }
    drop(listener);
    let finished = timeout(SHUTDOWN_TIMEOUT, connections.shutdown()).await;
    // A handler keeps running when its client disconnects, so handlers can outlive the server.
    let drained = timeout(DRAIN_TIMEOUT, webhook.drain()).await;
    if finished.is_err() || drained.is_err() {
        return Err(
            "requests were still in flight at shutdown; redelivered events run again once their leases end"
                .into(),
        );
    }
    Ok(())
}
