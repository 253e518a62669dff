//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p tonic-example`

use std::error::Error;
use std::process::ExitCode;

use roomz_axum::{Secret, WebhookLayer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

#[tokio::main]
#[allow(clippy::print_stderr, reason = "this is how a program says why it stops")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tonic-example: {error}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "this is the program's output")]
async fn run() -> Result<(), Box<dyn Error>> {
    let webhook = WebhookLayer::builder(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?).build()?;
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Server::builder()
        .accept_http1(true)
        .add_routes(tonic_example::app(webhook.clone()))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop)
        .await?;
    webhook.drain().await;
    Ok(())
}
