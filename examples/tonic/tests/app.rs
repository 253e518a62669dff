//! Both protocols on one socket.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper_util::rt::TokioIo;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};
use tonic_example::{PresenceClient, WatchRequest};

/// Starts the server and returns its address.
async fn start(secret: &Secret) -> SocketAddr {
    serve(tonic_example::app(WebhookLayer::new(secret.clone()))).await
}

async fn serve(routes: Routes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(
        Server::builder()
            .accept_http1(true)
            .add_routes(routes)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    address
}

/// Sends a delivery over HTTP/1.1 and returns the response.
async fn deliver(address: SocketAddr, path: &str, secret: &Secret) -> http::Response<hyper::body::Incoming> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut request: http::Request<Full<hyper::body::Bytes>> = TestEvent::busy().request(path, secret);
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    sender.send_request(request).await.unwrap()
}

/// ROOMZ sees a failed delivery, and a gRPC client sees `UNIMPLEMENTED`.
#[tokio::test]
async fn unknown_path_is_404() {
    let secret = Secret::new("the webhook secret").unwrap();
    let address = start(&secret).await;
    let response = deliver(address, "/webhook/roomz", &secret).await;
    assert_eq!(response.status(), 404);
    assert!(!response.headers().contains_key("grpc-status"));

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let other_path = format!("http://{address}/mistyped").parse().unwrap();
    let mut client = PresenceClient::with_origin(channel, other_path);
    let status = client.watch(WatchRequest {}).await.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

/// Around the whole server, `GrpcWebLayer` answers every delivery 400, because a delivery is HTTP/1.1 but not
/// gRPC-web.
#[tokio::test]
async fn grpc_web_layer_belongs_on_grpc_routes() {
    let secret = Secret::new("the webhook secret").unwrap();
    let webhook = || WebhookLayer::new(secret.clone());
    let on_routes = tonic_example::app_with(webhook(), |grpc| grpc.layer(tonic_web::GrpcWebLayer::new()));
    let around_all =
        Routes::from(tonic_example::app(webhook()).into_axum_router().layer(tonic_web::GrpcWebLayer::new()));
    for (routes, status) in [(on_routes, 200), (around_all, 400)] {
        let address = serve(routes).await;
        assert_eq!(deliver(address, "/webhooks/roomz", &secret).await.status(), status);
        let mut client = PresenceClient::connect(format!("http://{address}")).await.unwrap();
        client.watch(WatchRequest {}).await.unwrap();
    }
}

#[tokio::test]
async fn webhook_reaches_grpc_stream() {
    let secret = Secret::new("the webhook secret").unwrap();
    let address = start(&secret).await;
    let mut client = PresenceClient::connect(format!("http://{address}")).await.unwrap();
    let mut changes = client.watch(WatchRequest {}).await.unwrap().into_inner();

    assert_eq!(deliver(address, "/webhooks/roomz", &secret).await.status(), 200);
    let change = changes.message().await.unwrap().unwrap();
    assert_eq!(change.status, "Busy");
}
