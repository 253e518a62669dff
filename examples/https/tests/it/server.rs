//! The server on a local socket.

use std::net::SocketAddr;

use crate::fixture::Fixture;
use https::certificate::CertificateFiles;
use https::serve::serve;
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// A running server. It stops when `shutdown` is dropped.
struct Server {
    address: SocketAddr,
    files: CertificateFiles,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(fixture: &Fixture) -> Server {
    let files = CertificateFiles::load(&fixture.certificate(), &fixture.key()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, signal) = oneshot::channel::<()>();
    let app = https::app(fixture.webhook());
    let task = tokio::spawn(serve(listener, app, files.tls(), async {
        let _ = signal.await;
    }));
    Server { address, files, shutdown, task }
}

#[tokio::test]
async fn accepts_only_signed_events() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let (mut client, _) = fixture.client(server.address).await;
    let event = TestEvent::busy();
    assert_eq!(client.deliver(&event, &fixture.secret).await, (200, None));
    assert_eq!(client.deliver(&event, &fixture.secret).await, (200, Some("duplicate".to_owned())));
    let other_secret = Secret::new("a guess").unwrap();
    assert_eq!(client.deliver(&TestEvent::free(), &other_secret).await, (401, None));
}

#[tokio::test]
async fn renewal_keeps_open_connections() {
    let fixture = Fixture::new();
    let old = fixture.write_new();
    let mut server = start(&fixture).await;
    let (mut old_client, certificate) = fixture.client(server.address).await;
    assert!(certificate == old);

    let new = fixture.write_new();
    server.files.reload_if_changed();
    let (mut new_client, certificate) = fixture.client(server.address).await;
    assert!(certificate == new);
    for client in [&mut old_client, &mut new_client] {
        assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));
    }
}

#[tokio::test]
async fn invalid_renewal_keeps_old_certificate() {
    let fixture = Fixture::new();
    let old = fixture.write_new();
    let mut server = start(&fixture).await;
    let new = fixture.issue();
    for (certificate, key) in
        [("", old.key.as_str()), (&new.certificate, &old.key), (&new.certificate[..200], &new.key)]
    {
        fixture.write(certificate, key);
        server.files.reload_if_changed();
        let (mut client, certificate) = fixture.client(server.address).await;
        assert!(certificate == old);
        assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));
    }
    fixture.write(&new.certificate, &new.key);
    server.files.reload_if_changed();
    assert!(fixture.client(server.address).await.1 == new);
}

/// Runs on paused time: when client and server both wait, the clock moves to the next timeout.
#[tokio::test(start_paused = true)]
async fn closes_connection_with_slow_handshake() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    // No byte, and the header of a TLS record with 512 bytes.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let start = Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "after {sent:?}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

/// Pauses the time only after the handshake, because a wait inside the handshake would move the clock.
#[tokio::test]
async fn closes_connection_with_slow_head() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let mut stream = fixture.connect(server.address).await;
    stream.write_all(b"POST /webhooks/roomz HTTP/1.1\r\nhost: loc").await.unwrap();
    tokio::time::pause();
    let start = Instant::now();
    let mut response = String::new();
    // The server may close the connection without a TLS `close_notify`, which is an error here.
    let _ = stream.read_to_string(&mut response).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 408"), "{response}");
    assert!((89..=90).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn slow_handshake_does_not_block_others() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let _slow = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    let (mut client, _) = fixture.client(server.address).await;
    assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));
    assert!(start.elapsed().as_secs() < 10);
}

/// Shutdown finishes the request in flight and does not wait for a TLS handshake.
#[tokio::test]
async fn shutdown_finishes_request_in_flight() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let _slow = TcpStream::connect(server.address).await.unwrap();
    let mut stream = fixture.connect(server.address).await;
    let (head, body) = signed_request(&fixture);
    let (first_part, last_byte) = body.split_at(body.len() - 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    read_continue(&mut stream).await;
    stream.write_all(first_part).await.unwrap();

    let start = Instant::now();
    drop(server.shutdown);
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(last_byte).await.unwrap();
    let mut response = String::new();
    let _ = stream.read_to_string(&mut response).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    server.task.await.unwrap().unwrap();
    assert!(start.elapsed().as_secs() < 6, "shutdown waited for a timeout");
}

/// The body never arrives. Shutdown closes the connection after 6 s, before the layer's body timeout of 10 s.
#[tokio::test]
async fn shutdown_fails_after_timeout() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let mut stream = fixture.connect(server.address).await;
    let (head, _) = signed_request(&fixture);
    stream.write_all(head.as_bytes()).await.unwrap();
    read_continue(&mut stream).await;

    tokio::time::pause();
    let start = Instant::now();
    drop(server.shutdown);
    let error = server.task.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 6);
    let mut response = String::new();
    let _ = stream.read_to_string(&mut response).await;
    assert_eq!(response, "");
}

/// Returns the head of a signed request that expects a 100, and the body.
fn signed_request(fixture: &Fixture) -> (String, Vec<u8>) {
    let body = TestEvent::busy().body();
    let head = format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {}\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        fixture.secret.sign(&body).to_base64(),
        body.len()
    );
    (head, body)
}

/// Reads the response 100, which the server sends when the layer reads the body.
async fn read_continue(stream: &mut TlsStream<TcpStream>) {
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
}
