//! The server's timeouts and its shutdown, over sockets.
//!
//! In a paused tokio runtime no test waits for a timeout: the clock advances when every task waits.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusBuilder;
use presence_board::board::Board;
use presence_board::names::Names;
use presence_board::serve::serve;
use roomz_axum::roomz_webhook::roomz_protocol::Uuid;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Event, Secret, WebhookLayer, WorkspaceId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A running server.
struct TestServer {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, receiver) = oneshot::channel();
        let task = tokio::spawn(serve(listener, app, async {
            let _ = receiver.await;
        }));
        Self { address, shutdown, task }
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

fn slow_app() -> Router {
    Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/slow", get(|| tokio::time::sleep(Duration::from_secs(5))))
        .route("/slower", get(|| tokio::time::sleep(Duration::from_secs(60))))
        .route("/echo", post(|body: String| async { body }))
}

#[tokio::test(start_paused = true)]
async fn closes_slow_request_header() {
    let server = TestServer::start(slow_app()).await;
    for sent in ["", "G", "GET / HTTP/1.1\r\nhost: loc"] {
        let mut stream = server.send(sent).await;
        let start = Instant::now();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

#[tokio::test]
async fn unknown_route_closes_connection_announced() {
    let server = TestServer::start(slow_app()).await;
    for (path, status) in [("/unknown", "404"), ("/slow", "405")] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n");
        let mut answer = String::new();
        server.send(&head).await.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn closes_idle_connection() {
    let server = TestServer::start(slow_app()).await;
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let start = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// Both a slow handler and a request body that is still being sent.
#[tokio::test(start_paused = true)]
async fn finishes_open_requests_at_shutdown() {
    let server = TestServer::start(slow_app()).await;
    let mut slow = server.send("GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut upload =
        server.send("POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nab").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    server.shutdown.send(()).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    upload.write_all(b"cd").await.unwrap();
    for stream in [&mut upload, &mut slow] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.task.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 4, "the slow handler ends five seconds after its request");
}

#[tokio::test(start_paused = true)]
async fn closes_slow_request_after_shutdown_timeout() {
    let server = TestServer::start(slow_app()).await;
    let mut slower = server.send("GET /slower HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    server.shutdown.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 6);
    let mut answer = String::new();
    slower.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "", "closed without a response");
}

/// A display whose network cable was pulled: it delays the shutdown for six seconds and does not make it
/// fail.
#[tokio::test(start_paused = true)]
async fn stalled_reader_delays_shutdown_six_seconds() {
    let board = Board::new(Names::default());
    // A snapshot that is larger than the socket buffers.
    for number in 0..60_000_u128 {
        let workspace = WorkspaceId::from_uuid(Uuid::from_u128(number));
        let event = TestEvent::presence(&"x".repeat(64)).with_workspace_id(workspace);
        board.apply(&Event::parse(&event.body()).unwrap());
    }
    let webhook = WebhookLayer::builder(Secret::new("the webhook secret").unwrap()).build().unwrap();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let server = TestServer::start(presence_board::app(board.clone(), None, webhook, metrics)).await;

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    let start = Instant::now();
    board.close();
    server.shutdown.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 6);
}
