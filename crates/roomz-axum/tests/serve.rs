//! The server's timeouts and its shutdown, over sockets.
//!
//! In a paused tokio runtime no test waits for a timeout: the clock advances when every task waits.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, WebhookEvent, WebhookLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn webhook() -> WebhookLayer {
    WebhookLayer::new(Secret::new("the webhook secret").unwrap())
}

/// A running server.
struct TestServer {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    async fn start(webhook: WebhookLayer) -> Self {
        let slow_event = post(async |_: WebhookEvent| sleep(Duration::from_secs(20)).await);
        let app = Router::new()
            .route("/", get(async || "ok"))
            .route("/page", get(async || "x".repeat(32 * 1024 * 1024)))
            .route("/slow", get(|| sleep(Duration::from_secs(5))))
            .route("/slower", get(|| sleep(Duration::from_secs(60))))
            .route("/echo", post(async |body: String| body))
            .route("/event", slow_event.layer(webhook.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, receiver) = oneshot::channel::<()>();
        let server = roomz_axum::serve(listener, app, webhook).with_shutdown(async { drop(receiver.await) });
        Self { address, shutdown, task: tokio::spawn(server.into_future()) }
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    rest
}

async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\nok") {
        answer.push(stream.read_u8().await.unwrap().into());
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn closes_slow_head() {
    let server = TestServer::start(webhook()).await;
    for sent in ["", "G", "GET / HTTP/1.1\r\nhost: loc"] {
        let mut stream = server.send(sent).await;
        let start = Instant::now();
        let rest = rest(&mut stream).await;
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

/// Also one that sends a byte now and then.
#[tokio::test(start_paused = true)]
async fn closes_slow_head_of_later_request() {
    let server = TestServer::start(webhook()).await;
    let mut stream = server.send(GET).await;
    answer(&mut stream).await;
    sleep(Duration::from_secs(60)).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    answer(&mut stream).await;
    let start = Instant::now();
    let mut sent = 0;
    for byte in GET.as_bytes() {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        sleep(Duration::from_secs(3)).await;
    }
    assert!(sent < GET.len() && start.elapsed() < Duration::from_secs(20), "{sent} bytes");
}

#[tokio::test(start_paused = true)]
async fn keeps_idle_connection_for_90_s() {
    let server = TestServer::start(webhook()).await;
    let mut stream = server.send(GET).await;
    answer(&mut stream).await;
    sleep(Duration::from_secs(89)).await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    answer(&mut stream).await;
    let start = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(start.elapsed().as_secs(), 90);
}

/// A client that sends no more than a head holds little memory.
#[tokio::test]
async fn limits_head_to_64_kib() {
    let server = TestServer::start(webhook()).await;
    for (length, status) in [(60_000, "200"), (200_000, "431")] {
        let pad = "x".repeat(length);
        let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\npad: {pad}\r\n\r\n");
        let answer = rest(&mut server.send(&request).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{length}: {answer}");
    }
}

/// A client that reads no answer does not keep its connection, and one that reads slowly does.
#[tokio::test(start_paused = true)]
async fn closes_client_that_does_not_read() {
    let server = TestServer::start(webhook()).await;
    let request = "GET /page HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    for (reads, is_complete) in [(0, false), (5, true)] {
        let mut stream = server.send(request).await;
        let mut part = vec![0; 4 * 1024 * 1024];
        for _ in 0..reads {
            sleep(Duration::from_secs(59)).await;
            stream.read_exact(&mut part).await.unwrap();
        }
        sleep(Duration::from_secs(if is_complete { 1 } else { 61 })).await;
        let mut received = reads * part.len();
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            received += length;
        }
        assert_eq!(received > 32 * 1024 * 1024, is_complete, "{received} bytes after {reads} reads");
    }
}

/// The head's timeout ends with the head: the body may take longer, and so may the handler.
#[tokio::test(start_paused = true)]
async fn slow_body_and_slow_handler_finish() {
    let server = TestServer::start(webhook()).await;
    let mut slower = server.send("GET /slower HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let head = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
    let mut upload = server.send(head).await;
    for _ in 0..2 {
        sleep(Duration::from_secs(20)).await;
        upload.write_all(b"ok").await.unwrap();
    }
    assert!(rest(&mut upload).await.ends_with("\r\n\r\nokok"));
    let mut status = [0; 12];
    slower.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

/// The router answers without reading the body, so the connection ends. A proxy must know that.
#[tokio::test]
async fn unknown_route_closes_connection_announced() {
    let server = TestServer::start(webhook()).await;
    for (path, status) in [("/unknown", "404"), ("/slow", "405")] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n");
        let answer = rest(&mut server.send(&head).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

/// Both a slow handler and a request body that is still being sent.
#[tokio::test(start_paused = true)]
async fn finishes_open_requests_at_shutdown() {
    let server = TestServer::start(webhook()).await;
    let mut slow = server.send("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut upload =
        server.send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nab").await;
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    server.shutdown.send(()).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    upload.write_all(b"cd").await.unwrap();
    for stream in [&mut upload, &mut slow] {
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.task.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 4, "the slow handler ends five seconds after its request");
}

#[tokio::test(start_paused = true)]
async fn closes_slow_request_after_shutdown_timeout() {
    let server = TestServer::start(webhook()).await;
    let mut slower = server.send("GET /slower HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    server.shutdown.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 6);
    assert_eq!(rest(&mut slower).await, "", "closed without a response");
}

/// The readiness fails, deliveries are accepted, and their connections close.
#[tokio::test(start_paused = true)]
async fn announces_shutdown_and_reports_running_handlers() {
    let webhook = webhook();
    let server = TestServer::start(webhook.clone()).await;
    let request = TestEvent::busy().request::<Vec<u8>>("/event", &Secret::new("the webhook secret").unwrap());
    let mut text = "POST /event HTTP/1.1\r\nhost: localhost\r\n".to_owned();
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text += &format!(
        "content-length: {}\r\n\r\n{}",
        request.body().len(),
        String::from_utf8_lossy(request.body())
    );
    let mut event = server.send(&text).await;
    sleep(Duration::from_secs(1)).await;
    assert!(webhook.check_ready().await.is_ok());
    let start = Instant::now();
    server.shutdown.send(()).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(webhook.check_ready().await.is_err());
    let error = server.task.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 9, "6 s for requests, 3 s for handlers");
    assert_eq!(rest(&mut event).await, "");
}
