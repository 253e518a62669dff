//! A receiver for several customers: `SECRETS=secrets cargo run -p tenants`

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use roomz_axum::{TenantMap, WebhookLayer};
use tenants::secret_files;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("tenants: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let directory = std::env::var_os("SECRETS").map_or_else(|| PathBuf::from("secrets"), PathBuf::from);
    let tenants = TenantMap::new();
    println!("loaded {}", secret_files::load(&directory, &tenants)?);
    let webhook = WebhookLayer::builder_for_tenants(tenants.clone()).build()?;
    #[cfg(unix)]
    tokio::spawn(reload_on_hangup(directory, tenants, tokio::signal::unix::SignalKind::hangup())?);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let address = listener.local_addr()?;
    let server = roomz_axum::serve(listener, tenants::app(webhook.clone()), webhook);
    println!("listening on http://{address}");
    server.await?;
    Ok(())
}

/// Reads the secrets again after each SIGHUP. If they cannot be read, the old ones stay valid.
#[cfg(unix)]
fn reload_on_hangup(
    directory: PathBuf,
    tenants: TenantMap,
    hangup: tokio::signal::unix::SignalKind,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut hangup = tokio::signal::unix::signal(hangup)?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            match secret_files::load(&directory, &tenants) {
                Ok(summary) => println!("loaded {summary}"),
                Err(error) => eprintln!("tenants: secrets not changed: {error}"),
            }
        }
    })
}
