//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p hyper-example`

use std::error::Error;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use roomz_webhook::{Secret, WebhookLayer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hyper-example: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let webhook = WebhookLayer::builder(secret).with_path("/webhooks/roomz").build()?;
    let app = hyper_example::app(&webhook);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT"))?;
    let mut stop = stop_signal()?;
    println!("listening on http://{}", listener.local_addr()?);

    let mut server = http1::Builder::new();
    // Without a timer hyper has no time-outs at all.
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Most often too many open files: give connections the time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let service = TowerToHyperService::new(app.clone());
        // An error ends this connection only, and its client knows.
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(connection);
    }
    let ended = tokio::time::timeout(Duration::from_secs(6), connections.shutdown()).await;
    let drained = tokio::time::timeout(Duration::from_secs(3), webhook.drain()).await;
    if ended.is_err() || drained.is_err() {
        return Err(
            "stopped while handlers were running; their events are claimed again when their leases end"
                .into(),
        );
    }
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
