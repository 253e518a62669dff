//! The server, on a socket of this machine.

mod fixture;

use std::net::SocketAddr;

use fixture::Fixture;
use https::certificate::Renewal;
use https::serve::serve;
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A running server; it stops when `stop` is dropped.
struct Server {
    address: SocketAddr,
    renewal: Renewal,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<std::io::Result<()>>,
}

async fn start(fixture: &Fixture) -> Server {
    let (renewal, current) = Renewal::load(&fixture.certificate(), &fixture.key()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let app = https::app(fixture.webhook());
    let ended = tokio::spawn(serve(listener, app, current, async {
        let _ = stopped.await;
    }));
    Server { address, renewal, stop, ended }
}

#[tokio::test]
async fn a_signed_delivery_over_tls_is_handled_and_a_forged_one_is_not() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let (mut client, _) = fixture.client(server.address).await;
    let event = TestEvent::busy();
    assert_eq!(client.deliver(&event, &fixture.secret).await, (200, None));
    assert_eq!(client.deliver(&event, &fixture.secret).await, (200, Some("duplicate".to_owned())));
    let forger = Secret::new("a guess").unwrap();
    assert_eq!(client.deliver(&TestEvent::free(), &forger).await, (401, None));
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections_and_an_old_connection_goes_on() {
    let fixture = Fixture::new();
    let old = fixture.write_new();
    let mut server = start(&fixture).await;
    let (mut old_client, shown) = fixture.client(server.address).await;
    assert!(shown == old);

    let new = fixture.write_new();
    server.renewal.look_again();
    let (mut new_client, shown) = fixture.client(server.address).await;
    assert!(shown == new);
    for client in [&mut old_client, &mut new_client] {
        assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));
    }
}

#[tokio::test]
async fn a_new_pair_that_cannot_be_used_leaves_the_old_one_in_place() {
    let fixture = Fixture::new();
    let old = fixture.write_new();
    let mut server = start(&fixture).await;
    let new = fixture.issue();
    for (certificate, key) in
        [("", old.key.as_str()), (&new.certificate, &old.key), (&new.certificate[..200], &new.key)]
    {
        fixture.write(certificate, key);
        server.renewal.look_again();
        let (mut client, shown) = fixture.client(server.address).await;
        assert!(shown == old);
        assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));
    }
    fixture.write(&new.certificate, &new.key);
    server.renewal.look_again();
    assert!(fixture.client(server.address).await.1 == new, "once both files are there");
}

/// In a paused runtime nothing waits: when client and server both wait, the clock jumps to the next time-out.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_its_handshake_is_given_up() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    // Nothing, and the beginning of a record that is to be 512 bytes long.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let start = Instant::now();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "after {sent:?}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

/// The clock is paused once hands are shaken: a handshake waits for the other side, and would make it jump.
#[tokio::test]
async fn a_client_that_is_slow_to_send_a_head_is_given_up() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let mut stream = fixture.connect(server.address).await;
    stream.write_all(b"POST /webhooks/roomz HTTP/1.1\r\nhost: loc").await.unwrap();
    tokio::time::pause();
    let start = Instant::now();
    let mut answer = String::new();
    // Whether a server that gives up says good-bye in TLS is its own affair.
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!((9..=10).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// One client takes its time; the others are served meanwhile.
#[tokio::test]
async fn a_handshake_that_takes_long_holds_nobody_up() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let _slow = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    let (mut client, _) = fixture.client(server.address).await;
    assert_eq!(client.deliver(&TestEvent::busy(), &fixture.secret).await, (200, None));
    assert!(start.elapsed().as_secs() < 10);
}

#[tokio::test]
async fn when_it_stops_a_request_under_way_is_answered_and_a_handshake_is_not_waited_for() {
    let fixture = Fixture::new();
    fixture.write_new();
    let server = start(&fixture).await;
    let _slow = TcpStream::connect(server.address).await.unwrap();
    let mut stream = fixture.connect(server.address).await;
    let body = TestEvent::busy().body();
    let (most, last) = body.split_at(body.len() - 1);
    let head = format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {}\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        fixture.secret.sign(&body).to_base64(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request has reached the layer.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&go_on));
    stream.write_all(most).await.unwrap();

    let start = Instant::now();
    drop(server.stop);
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(last).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.ended.await.unwrap().unwrap();
    assert!(start.elapsed().as_secs() < 6, "nothing is waited for until a time-out");
}
