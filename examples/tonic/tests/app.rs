//! Both protocols on one socket.

use http_body_util::Full;
use hyper_util::rt::TokioIo;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_example::{PresenceClient, WatchRequest};

#[tokio::test]
async fn webhook_reaches_grpc_stream() {
    let secret = Secret::new("the webhook secret").unwrap();
    let webhook = WebhookLayer::new(secret.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .add_routes(tonic_example::app(webhook))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );

    let mut client = PresenceClient::connect(format!("http://{address}")).await.unwrap();
    let mut changes = client.watch(WatchRequest {}).await.unwrap().into_inner();

    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request: http::Request<Full<hyper::body::Bytes>> =
        TestEvent::busy().request("/webhooks/roomz", &secret);
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);

    let change = changes.message().await.unwrap().unwrap();
    assert_eq!(change.status, "Busy");
}
