//! One request over one connection.

use std::error::Error;
use std::net::SocketAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What is posted.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) body: Vec<u8>,
    pub(super) signature: String,
}

/// Posts a delivery, and gives the status of the answer.
pub(super) async fn post(
    board: SocketAddr,
    delivery: &Delivery,
) -> Result<u16, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(board).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/webhooks/roomz")
        .header(header::HOST, board.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header("roomz-signature", &delivery.signature)
        .body(Full::new(Bytes::from(delivery.body.clone())))?;
    let status = sender.send_request(request).await?.status().as_u16();
    drop(sender);
    // Ends with the sender; its errors are those of the request.
    let _ = connection.await;
    Ok(status)
}
