//! The routes over sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_example::adapter::{self, Adapter};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Secret, WebhookBody, WebhookLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tower::service_fn;

fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// Starts a server with these routes on one thread.
fn serve(routes: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static) -> (SocketAddr, ServerHandle) {
    let server = HttpServer::new(move || App::new().configure(routes.clone()))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    (address, handle)
}

/// Opens a connection and sends a request with this signature and body.
async fn send(address: SocketAddr, signature: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nroomz-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may answer and close the connection before it has read everything.
    let _ = stream.write_all(body).await;
    stream
}

/// The response to a request, in lower case.
async fn response(address: SocketAddr, signature: &str, body: &[u8]) -> String {
    let mut stream = send(address, signature, body).await;
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8(response).unwrap().to_lowercase()
}

async fn deliver(address: SocketAddr, event: &TestEvent, secret: &Secret) -> String {
    let body = event.body();
    response(address, &secret.sign(&body).to_base64(), &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn handles_each_event_once() {
    let webhook = WebhookLayer::new(secret());
    let (address, _server) = serve(actix_example::routes(webhook, Handle::current()));
    let event = TestEvent::busy();
    let first = deliver(address, &event, &secret()).await;
    assert!(first.starts_with("http/1.1 200") && !first.contains("roomz-webhook-skipped"), "{first}");
    let second = deliver(address, &event, &secret()).await;
    assert!(
        second.starts_with("http/1.1 200") && second.contains("roomz-webhook-skipped: duplicate"),
        "{second}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn rejects_forged_and_large_deliveries() {
    let webhook = WebhookLayer::new(secret());
    let (address, _server) = serve(actix_example::routes(webhook, Handle::current()));
    let forged = deliver(address, &TestEvent::busy(), &Secret::new("a guess").unwrap()).await;
    assert!(forged.starts_with("http/1.1 401") && forged.contains("signature-mismatch"), "{forged}");
    assert!(forged.contains("content-type: application/problem+json"), "{forged}");
    let unsigned = response(address, "", b"{}").await;
    assert!(unsigned.starts_with("http/1.1 401"), "{unsigned}");
    let large = vec![b' '; 256 * 1024 + 1];
    let large = response(address, &secret().sign(&large).to_base64(), &large).await;
    assert!(large.starts_with("http/1.1 413") && large.contains("body-too-large"), "{large}");
}

/// Sends a valid delivery with these header lines, and reads until the server closes the connection.
async fn response_until_closed(address: SocketAddr, lines: &str) -> String {
    let body = TestEvent::busy().body();
    let head = format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\n{lines}roomz-signature: {}\r\ncontent-length: {}\r\n\r\n",
        secret().sign(&body).to_base64(),
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.to_lowercase()
}

/// A proxy that keeps its connections open takes them to other instances.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn closes_connections_after_shutdown_begins() {
    let webhook = WebhookLayer::new(secret());
    let (address, _server) = serve(actix_example::routes(webhook.clone(), Handle::current()));
    webhook.begin_shutdown();
    let response = response_until_closed(address, "").await;
    assert!(response.starts_with("http/1.1 200") && response.contains("connection: close"), "{response}");
}

/// The next request of the connection would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn request_for_upgrade_closes_connection_announced() {
    let webhook = WebhookLayer::new(secret());
    let (address, _server) = serve(actix_example::routes(webhook, Handle::current()));
    let lines = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n";
    let response = response_until_closed(address, lines).await;
    assert!(response.starts_with("http/1.1 200") && response.contains("connection: close"), "{response}");
}

/// The client disconnects while the handler runs, and the server stops: the handler finishes and its event is
/// completed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handler_finishes_without_client_and_server() {
    let (started, may_finish) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let finished = Arc::new(AtomicUsize::new(0));
    let webhook = WebhookLayer::new(secret());
    let handler = {
        let (started, may_finish, finished) = (started.clone(), may_finish.clone(), finished.clone());
        service_fn(move |_: Request<WebhookBody>| {
            let (started, may_finish, finished) = (started.clone(), may_finish.clone(), finished.clone());
            async move {
                started.add_permits(1);
                may_finish.acquire().await.unwrap().forget();
                finished.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            }
        })
    };
    let adapter = Adapter::new(&webhook, handler, Handle::current());
    let (address, server) = serve(move |config| {
        let data = web::Data::new(adapter.clone());
        config.app_data(data).route("/webhooks/roomz", web::to(adapter::receive));
    });
    let body = TestEvent::busy().body();
    let connection = send(address, &secret().sign(&body).to_base64(), &body).await;
    started.acquire().await.unwrap().forget();
    drop(connection);
    server.stop(false).await;
    assert_eq!(finished.load(Ordering::SeqCst), 0);
    may_finish.add_permits(1);
    tokio::time::timeout(Duration::from_secs(30), webhook.drain()).await.unwrap();
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}
