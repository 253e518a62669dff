//! An HTTP client that opens one connection for each delivery.

use std::error::Error;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The body and the signature of a delivery.
#[derive(Clone)]
pub(super) struct SignedEvent {
    pub(super) body: Vec<u8>,
    pub(super) signature: String,
}

/// Delivers an event and returns the status of the response.
pub(super) async fn post(
    address: SocketAddr,
    event: &SignedEvent,
) -> Result<u16, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/webhooks/roomz")
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header("roomz-signature", &event.signature)
        .body(Full::new(Bytes::from(event.body.clone())))?;
    let status = sender.send_request(request).await?.status().as_u16();
    drop(sender);
    // The connection ends when its sender is dropped. `send_request` has reported its errors.
    let _ = connection.await;
    Ok(status)
}
