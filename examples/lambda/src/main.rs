//! The function's `bootstrap`. It runs in AWS Lambda only; `tests/function.rs` runs it with an emulator.

use std::error::Error;
use std::process::ExitCode;

use roomz_axum::Secret;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        // The log has times of its own, and no colours.
        .without_time()
        .with_ansi(false)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lambda: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), lambda_http::Error> {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return Err(
            "AWS_LAMBDA_RUNTIME_API is not set: start this program in AWS Lambda, which sets it".into()
        );
    }
    let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
    let store = std::env::var("STORE").ok();
    let webhook = lambda::webhook(secret, store.as_deref())
        .await
        .map_err(|error| format!("STORE: {}; set STORE to redis://HOST:PORT", with_source(&*error)))?;
    if store.is_none() {
        tracing::warn!("STORE is not set: each instance knows only the events that it handled itself");
    }
    lambda_http::run(lambda::app(webhook)).await
}

/// The error and what caused it.
fn with_source(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error} ({})", with_source(source)),
        None => error.to_string(),
    }
}
