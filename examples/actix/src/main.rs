//! A receiver of ROOMZ webhooks in actix-web: `ROOMZ_WEBHOOK_SECRET=… cargo run -p actix-example`

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use actix_web::{App, HttpServer};
use roomz_webhook::{Secret, WebhookLayer, shutdown_signal};
use tokio::runtime::Handle;

/// Time for a client to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than senders keep an idle connection (.NET 60 s): one that closes takes a delivery with it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Seconds for requests to finish after the shutdown signal.
const SHUTDOWN_TIMEOUT: u64 = 6;
/// Time for handlers to finish after the server has stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("actix-example: {error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
    // The runtime of `main`, which ends after the server and its threads.
    let routes = actix_example::routes(webhook.clone(), Handle::current());

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let server = HttpServer::new(move || App::new().configure(routes.clone()))
        .client_request_timeout(HEADER_TIMEOUT)
        .keep_alive(IDLE_TIMEOUT)
        // A duplicate whose client disconnects stops waiting.
        .h1_allow_half_closed(false)
        .shutdown_timeout(SHUTDOWN_TIMEOUT)
        .disable_signals()
        .bind(&address)
        .map_err(|error| {
            format!(
                "cannot listen on {address:?}: {error}; set LISTEN to HOST:PORT (port 0 picks a free port)"
            )
        })?;
    let (signal, delay) = (shutdown_signal()?, shutdown_delay()?);
    for address in server.addrs() {
        println!("listening on http://{address}");
    }
    let server = server.run();
    let (handle, announced) = (server.handle(), webhook.clone());
    tokio::spawn(async move {
        signal.await;
        // Deliveries are still handled, while the load balancer notices that this instance stops.
        announced.begin_shutdown();
        tokio::time::sleep(delay).await;
        handle.stop(true).await;
    });
    server.await?;

    // A handler keeps running when its client disconnects, so handlers can outlive the server.
    tokio::time::timeout(DRAIN_TIMEOUT, webhook.drain()).await.map_err(
        |_| "handlers were still running at shutdown; redelivered events run again once their leases end",
    )?;
    Ok(())
}

/// Returns the time between the signal and the end of the server, from the variable `SHUTDOWN_DELAY`.
fn shutdown_delay() -> Result<Duration, String> {
    let Ok(value) = std::env::var("SHUTDOWN_DELAY") else { return Ok(Duration::ZERO) };
    let seconds = value.parse().map_err(|_| {
        format!("SHUTDOWN_DELAY is {value:?}: set it to a whole number of seconds, such as 5")
    })?;
    Ok(Duration::from_secs(seconds))
}
