//! `ROOMZ_WEBHOOK_SECRET=… CERTIFICATE=chain.pem KEY=key.pem cargo run -p https`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use https::certificate::Renewal;
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("https: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::builder(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?).build()?;
    let certificate = file("CERTIFICATE", "the certificate and its chain")?;
    let key = file("KEY", "the certificate's key")?;
    let (renewal, current) = Renewal::load(&certificate, &key)?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT, port 0 for any free one")
    })?;
    let stop = stop_signal()?;
    println!("listening on https://{}", listener.local_addr()?);

    let renewal = tokio::spawn(renewal.watch());
    let served = https::serve::serve(listener, https::app(webhook.clone()), current, stop).await;
    renewal.abort();
    // Handlers whose client went away may still be running. Both waits together stay below the ten seconds that most
    // supervisors give a process to end.
    let drained = tokio::time::timeout(Duration::from_secs(3), webhook.drain()).await;
    if served.is_err() || drained.is_err() {
        return Err(
            "stopped while handlers were running; their events are claimed again when their leases end"
                .into(),
        );
    }
    Ok(())
}

/// The file that this environment variable names.
fn file(variable: &str, holds: &str) -> Result<PathBuf, String> {
    std::env::var_os(variable).map(PathBuf::from).ok_or_else(|| {
        format!("the environment variable {variable} is not set: set it to the PEM file that holds {holds}")
    })
}

/// Resolves when the process is asked to end: Ctrl-C, or a service manager's SIGTERM.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the process is asked to end.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
