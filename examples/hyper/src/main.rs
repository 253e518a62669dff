//! `ROOMZ_WEBHOOK_SECRET=… cargo run -p hyper-example`

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use roomz_webhook::{Secret, WebhookLayer};
use tokio::net::TcpListener;

#[tokio::main]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program's output")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = match Secret::from_env("ROOMZ_WEBHOOK_SECRET") {
        Ok(secret) => secret,
        Err(error) => {
            eprintln!("hyper-example: {error}");
            std::process::exit(1);
        }
    };
    let app = hyper_example::app(&WebhookLayer::builder(secret).with_path("/webhooks/roomz").build()?);

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
