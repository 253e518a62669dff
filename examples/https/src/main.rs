//! A server for ROOMZ webhooks over TLS:
//! `ROOMZ_WEBHOOK_SECRET=… CERTIFICATE=chain.pem KEY=key.pem cargo run -p https`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use https::certificate::CertificateFiles;
use roomz_axum::{Secret, WebhookLayer, shutdown_signal};
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// Time for handlers to finish after the server has stopped. Together with the server's own 6 s it stays
/// below the 10 s that most supervisors wait before they kill a process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

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
    let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
    let certificate = file_from_env("CERTIFICATE", "the certificate and its chain")?;
    let key = file_from_env("KEY", "the certificate's key")?;
    let files = CertificateFiles::load(&certificate, &key)?;

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let shutdown = shutdown_signal()?;
    println!("listening on https://{}", listener.local_addr()?);

    let tls = files.tls();
    let reload = tokio::spawn(files.watch());
    let served = https::serve::serve(listener, https::app(webhook.clone()), tls, shutdown).await;
    reload.abort();

    // A handler keeps running when its client disconnects, so handlers can outlive the server.
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, webhook.drain()).await;
    served?;
    drained.map_err(
        |_| "handlers were still running at shutdown; redelivered events run again once their leases end",
    )?;
    Ok(())
}

/// Reads the path of a file from an environment variable.
fn file_from_env(variable: &str, content: &str) -> Result<PathBuf, String> {
    std::env::var_os(variable).map(PathBuf::from).ok_or_else(|| {
        format!("the environment variable {variable} is not set: set it to the PEM file that holds {content}")
    })
}
