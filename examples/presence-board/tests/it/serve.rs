//! The shutdown while a client stands still, over a socket.
//!
//! In a paused tokio runtime no test waits for a timeout: the clock advances when every task waits.

use metrics_exporter_prometheus::PrometheusBuilder;
use presence_board::board::Board;
use presence_board::names::Names;
use roomz_axum::roomz_webhook::roomz_protocol::Uuid;
use roomz_axum::testing::TestEvent;
use roomz_axum::{Event, Secret, WebhookLayer, WorkspaceId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A display whose network cable was pulled: it delays the shutdown for six seconds and does not make it
/// fail.
#[tokio::test(start_paused = true)]
async fn stalled_reader_delays_shutdown_six_seconds() {
    let board = Board::new(Names::default());
    // A snapshot that is larger than the socket buffers.
    for number in 0..60_000_u128 {
        let workspace = WorkspaceId::from(Uuid::from_u128(number));
        let event = TestEvent::presence(&"x".repeat(64)).with_workspace_id(workspace);
        board.apply(&Event::parse(&event.body()).unwrap());
    }
    let webhook = WebhookLayer::builder(Secret::new("the webhook secret").unwrap()).build().unwrap();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let app = presence_board::app(board.clone(), None, webhook.clone(), metrics);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, receiver) = oneshot::channel::<()>();
    let server = roomz_axum::serve(listener, app, webhook).with_shutdown(async { drop(receiver.await) });
    let server = tokio::spawn(server.into_future());

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    let start = Instant::now();
    board.close();
    shutdown.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_secs(), 6);
}
