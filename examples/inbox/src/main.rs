//! `ROOMZ_WEBHOOK_SECRET=… DATABASE_URL=sqlite://inbox.db cargo run -p inbox`

use std::env::{self, VarError};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use roomz_axum::{Secret, WebhookLayer};
use roomz_inbox::Inbox;
use tokio::net::TcpListener;
use tower::service_fn;
use tracing_subscriber::EnvFilter;

/// Time for handlers to finish after the server has stopped. Events of handlers that take longer are given
/// back within 3 s more.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    // An error returned from `main` would print its `Debug` form.
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("inbox: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let url = setting("DATABASE_URL", "sqlite://inbox.db")?;
    // `Debug` of this error prints the message and its causes, without the URL.
    let inbox = Inbox::connect(&url).await.map_err(|error| format!("DATABASE_URL: {error:?}"))?;
    inbox::table::create(&url)
        .await
        .map_err(|error| format!("DATABASE_URL: cannot create the table presence_log: {error}"))?;

    let webhook = WebhookLayer::new(secret);
    let app = inbox::app(webhook.clone(), &inbox);
    let address = setting("LISTEN", "127.0.0.1:3000")?;
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)")
    })?;
    let address = listener.local_addr()?;
    let server = roomz_axum::serve(listener, app, webhook);
    println!("listening on http://{address}");
    let worker = inbox.worker(service_fn(inbox::record)).start();
    let served = server.await;
    worker.shutdown(HANDLER_TIMEOUT).await;
    served?;
    Ok(())
}

/// Returns the value of an environment variable, or the default if it is not set.
fn setting(name: &str, default: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) => Ok(value),
        Err(VarError::NotPresent) => Ok(default.to_owned()),
        Err(VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not valid UTF-8; correct it"))
        }
    }
}
