//! The function's `bootstrap`. It runs only in AWS Lambda; `tests/it/function.rs` runs it with an emulator.

use std::process::ExitCode;

use roomz_axum::Secret;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        // CloudWatch adds the time and does not render colors.
        .without_time()
        .with_ansi(false)
        .init();
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("lambda: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), lambda_http::Error> {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(
            "AWS_LAMBDA_RUNTIME_API is not set: start this program in AWS Lambda, which sets it".into()
        );
    }
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let store = std::env::var("STORE").ok();
    // `Debug` of a store's error prints the message and its causes.
    let webhook =
        lambda::webhook(secret, store.as_deref()).await.map_err(|error| format!("STORE: {error:?}"))?;
    if store.is_none() {
        tracing::warn!("STORE is not set: instances do not share claims, so they can handle an event twice");
    }
    lambda_http::run(lambda::app(webhook)).await
}
