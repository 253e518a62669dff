//! Both protocols on one socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookLayer};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Endpoint;
use tonic_example::{PresenceClient, WatchRequest};

/// Starts the server and returns its address.
async fn start(secret: &Secret) -> SocketAddr {
    serve(tonic_example::app(WebhookLayer::new(secret.clone()))).await
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// Sends a request over HTTP/1.1 and returns the response.
async fn send<B>(address: SocketAddr, mut request: Request<B>) -> Response<Incoming>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    sender.send_request(request).await.unwrap()
}

async fn deliver(address: SocketAddr, path: &str, secret: &Secret) -> Response<Incoming> {
    send(address, TestEvent::busy().request::<Full<Bytes>>(path, secret)).await
}

/// ROOMZ sees a failed delivery, and a gRPC client sees `UNIMPLEMENTED`.
#[tokio::test]
async fn unknown_path_is_404() {
    let secret = Secret::new("the webhook secret").unwrap();
    let address = start(&secret).await;
    let response = deliver(address, "/webhook/roomz", &secret).await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["connection"], "close", "the body was not read");
    assert!(!response.headers().contains_key("grpc-status"));

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let other_path = format!("http://{address}/mistyped").parse().unwrap();
    let mut client = PresenceClient::with_origin(channel, other_path);
    let status = client.watch(WatchRequest {}).await.unwrap().into_inner().message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

/// tonic's own server answers 200 with `grpc-status: 1` when the time of this header is over, and ROOMZ would
/// count a success. The body never comes.
#[tokio::test]
async fn grpc_timeout_header_is_ignored() {
    let secret = Secret::new("the webhook secret").unwrap();
    let webhook = WebhookLayer::builder(secret.clone()).with_body_timeout(Duration::from_millis(20));
    let address = serve(tonic_example::app(webhook.build().unwrap())).await;
    let mut request = TestEvent::busy().request::<Full<Bytes>>("/webhooks/roomz", &secret);
    request.headers_mut().insert("grpc-timeout", "1n".parse().unwrap());
    let never = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>());
    let response = send(address, request.map(|_| never)).await;
    assert_eq!(response.status(), 408, "{:?}", response.headers());
}

/// Around the whole server, `GrpcWebLayer` answers every delivery 400, because a delivery is HTTP/1.1 but not
/// gRPC-web.
#[tokio::test]
async fn grpc_web_layer_belongs_on_grpc_routes() {
    let secret = Secret::new("the webhook secret").unwrap();
    let webhook = || WebhookLayer::new(secret.clone());
    let on_routes = tonic_example::app_with(webhook(), |grpc| grpc.layer(tonic_web::GrpcWebLayer::new()));
    let around_all = tonic_example::app(webhook()).layer(tonic_web::GrpcWebLayer::new());
    for (app, status) in [(on_routes, 200), (around_all, 400)] {
        let address = serve(app).await;
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
