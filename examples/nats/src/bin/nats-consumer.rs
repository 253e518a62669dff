//! The consumer: `NATS_URL=nats://127.0.0.1:4222 cargo run -p nats --bin nats-consumer`

use std::process::ExitCode;

use nats::broker::Broker;
use nats::consumer::{self, BoxError, Settings};
use roomz_axum::{Event, WorkspacePresenceChanged, shutdown_signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .init();
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("nats-consumer: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), BoxError> {
    let broker = Broker::from_env().await?;
    let shutdown = shutdown_signal()?;
    consumer::run(&broker, Settings::default(), handle, shutdown).await
}

/// Handles one event. It can run again for the same event, so it must not matter how often: for example,
/// write the effect and `event.id` in one transaction. After an error, the event is delivered again.
async fn handle(event: Event) -> Result<(), BoxError> {
    match event.typed::<WorkspacePresenceChanged>() {
        Some(event) => println!("{} {} {}", event.id, event.data.workspace_id, event.data.presence_status),
        // Another type of event, or data that cannot be read. `event.data` has the JSON.
        None => println!("{} {}", event.id, event.event_type),
    }
    Ok(())
}
