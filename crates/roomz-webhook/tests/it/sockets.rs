//! Clients of a real socket that are slow, stall, send a wrong length, or disconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use roomz_webhook::testing::TestEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::support::{Op, TestReceiver, TestServer, read_response, secret};

fn head(body: &[u8], headers: &str) -> String {
    let signature = secret().sign(body).to_base64();
    format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {signature}\r\n{headers}\r\n"
    )
}

fn delivery(body: &[u8]) -> Vec<u8> {
    let head = head(body, &format!("content-length: {}\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

fn status(response: &str) -> &str {
    response.get(9..12).unwrap_or(response)
}

/// A delivery, its duplicate, and a forged request.
#[tokio::test]
async fn delivers_over_http() {
    let receiver = TestReceiver::new();
    let server = TestServer::start(receiver.service()).await;
    let body = TestEvent::busy().body();
    assert_eq!(status(&server.exchange(&delivery(&body)).await), "200");
    let duplicate = server.exchange(&delivery(&body)).await;
    assert!(duplicate.contains("roomz-webhook-skipped: duplicate"), "{duplicate}");
    let mut forged = delivery(&body);
    *forged.last_mut().unwrap() = b' ';
    let rejected = server.exchange(&forged).await;
    assert_eq!(status(&rejected), "401");
    assert!(rejected.contains("application/problem+json"), "{rejected}");
    assert_eq!(receiver.runs(), 1);
}

#[tokio::test]
async fn keeps_connection_alive() {
    let receiver = TestReceiver::new();
    let mut stream = TestServer::start(receiver.service()).await.connect().await;
    for _ in 0..5 {
        stream.write_all(&delivery(&TestEvent::busy().body())).await.unwrap();
        assert_eq!(status(&read_response(&mut stream).await), "200");
    }
    assert_eq!(receiver.runs(), 5);
}

#[tokio::test]
async fn limits_chunked_body() {
    let receiver = TestReceiver::with(|builder| builder.with_body_limit(1_000), async |_| Ok(StatusCode::OK));
    let server = TestServer::start(receiver.service()).await;
    let chunked = |body: &[u8]| {
        let mut bytes = head(body, "transfer-encoding: chunked\r\n").into_bytes();
        for chunk in body.chunks(64) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    assert_eq!(status(&server.exchange(&chunked(&TestEvent::busy().body())).await), "200");
    let long = TestEvent::busy().with("pad", "x".repeat(1_000)).body();
    assert_eq!(status(&server.exchange(&chunked(&long)).await), "413");
}

/// The process was stopped for longer than the deadline. The whole body is in the socket when it goes on.
#[tokio::test]
async fn accepts_body_that_is_in_socket_at_deadline() {
    let receiver = TestReceiver::new();
    let server = TestServer::start(receiver.service()).await;
    for length in [0, 100_000] {
        let body = TestEvent::busy().with("pad", "x".repeat(length)).body();
        let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        let with_length = format!("content-length: {}\r\n", body.len());
        for (header, bytes) in [(&*with_length, &body), ("transfer-encoding: chunked\r\n", &chunked)] {
            let mut stream = server.connect().await;
            let head = head(&body, &format!("expect: 100-continue\r\n{header}"));
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = [0; 25];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n", "the server reads the body");
            // The server runs on this thread: until `advance` yields, it does nothing.
            assert_eq!(stream.try_write(bytes).unwrap(), bytes.len());
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(11)).await;
            tokio::time::resume();
            assert_eq!(status(&read_response(&mut stream).await), "200", "{header}");
        }
    }
}

#[tokio::test]
async fn rejects_large_content_length_before_body() {
    let receiver = TestReceiver::new();
    let mut stream = TestServer::start(receiver.service()).await.connect().await;
    let head = head(b"", "content-length: 1000000000000\r\nexpect: 100-continue\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&read_response(&mut stream).await), "413");
}

#[tokio::test]
async fn rejects_wrong_content_length() {
    let receiver = TestReceiver::new();
    let server = TestServer::start(receiver.service()).await;
    let body = TestEvent::busy().body();
    let too_short = [head(&body, "content-length: 10\r\n").as_bytes(), &body[..]].concat();
    assert_eq!(status(&server.exchange(&too_short).await), "401");

    let mut stream = server.connect().await;
    let too_long =
        [head(&body, &format!("content-length: {}\r\n", body.len() + 1)).as_bytes(), &body[..]].concat();
    stream.write_all(&too_long).await.unwrap();
    stream.shutdown().await.unwrap();
    let response = read_response(&mut stream).await;
    assert!(response.is_empty() || status(&response) == "400", "{response}");

    for length in ["-1", "1, 2", "0x10", "9999999999999999999999"] {
        let response =
            server.exchange(head(&body, &format!("content-length: {length}\r\n")).as_bytes()).await;
        assert_eq!(status(&response), "400", "{length}: rejected by hyper");
    }
    assert_eq!((receiver.runs(), receiver.store.total_calls()), (0, 0));
}

/// Writes everything before it reads, like many clients, and still writes when the server answers. If the
/// server closes the connection with unread bytes, a write fails, and such a client never reads the answer.
async fn write_then_read(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = server.connect().await;
    let (first, last) = bytes.split_at(bytes.len() - 20_000);
    stream.write_all(first).await.unwrap();
    assert_eq!(stream.peek(&mut [0]).await.unwrap(), 1, "the server answers");
    for part in last.chunks(1_000) {
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    read_response(&mut stream).await
}

#[tokio::test]
async fn early_rejection_of_large_body_arrives() {
    let server = TestServer::start(TestReceiver::new().service()).await;
    let body = vec![b'x'; 200_000];
    let length = format!("content-length: {}\r\n", body.len());
    let chunked = [b"30d40\r\n", &body[..], b"\r\n0\r\n\r\n"].concat();
    for (head, body, expected) in [
        (format!("POST / HTTP/1.1\r\nhost: x\r\n{length}\r\n"), &body, "401"),
        ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".into(), &chunked, "401"),
        (format!("PUT / HTTP/1.1\r\nhost: x\r\n{length}\r\n"), &body, "405"),
        (head(&body, &format!("{length}content-encoding: gzip\r\n")), &body, "415"),
        (head(&body, "content-length: 300000\r\n"), &body, "413"),
    ] {
        let response = write_then_read(&server, &[head.as_bytes(), body].concat()).await;
        assert_eq!(status(&response), expected);
        assert!(response.contains("connection: close"), "{response}");
    }
}

/// A body that is found to be too long while it is read.
#[tokio::test]
async fn rejection_of_long_chunked_body_arrives() {
    let receiver =
        TestReceiver::with(|builder| builder.with_body_limit(150_000), async |_| Ok(StatusCode::OK));
    let server = TestServer::start(receiver.service()).await;
    let body = vec![b'x'; 200_000];
    let head = head(&body, "transfer-encoding: chunked\r\n");
    let request = [head.as_bytes(), b"30d40\r\n", &body[..], b"\r\n0\r\n\r\n"].concat();
    let response = write_then_read(&server, &request).await;
    assert_eq!(status(&response), "413");
    assert!(response.contains("connection: close"), "{response}");
}

/// The rejection does not wait for the body, and the connection does not wait longer than the body timeout.
#[tokio::test(start_paused = true)]
async fn early_rejection_does_not_wait_for_body() {
    let mut stream = TestServer::start(TestReceiver::new().service()).await.connect().await;
    let start = Instant::now();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 225\r\n\r\n{").await.unwrap();
    let response = read_response(&mut stream).await;
    assert_eq!((status(&response), start.elapsed()), ("401", Duration::ZERO));
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the server closes the connection");
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// What a rejected client may still send has the limit of a body.
#[tokio::test]
async fn endless_rejected_body_is_cut_off() {
    let server = TestServer::start(TestReceiver::new().service()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_response(&mut stream).await), "401");
    let mut sent = 0;
    while stream.write_all(&[b'x'; 64 * 1024]).await.is_ok() {
        sent += 64;
        assert!(sent < 100 * 1024, "the server reads on after {sent} KiB");
    }
}

/// A rejection whose body was read, and one of a request without a body, keep the connection.
#[tokio::test]
async fn late_rejection_keeps_connection_alive() {
    let mut stream = TestServer::start(TestReceiver::new().service()).await.connect().await;
    let mut forged = delivery(&TestEvent::busy().body());
    *forged.last_mut().unwrap() = b' ';
    for (request, expected) in [
        (forged, "401"),
        (delivery(b"not an event"), "400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "405"),
        (delivery(&TestEvent::busy().body()), "200"),
    ] {
        stream.write_all(&request).await.unwrap();
        let response = read_response(&mut stream).await;
        assert_eq!(status(&response), expected);
        assert!(!response.contains("connection:"), "{response}");
    }
}

/// Header lines as raw bytes. White space around a valid value is allowed.
#[tokio::test]
async fn rejects_raw_malformed_signature_headers() {
    let receiver = TestReceiver::new();
    let server = TestServer::start(receiver.service()).await;
    let body = TestEvent::busy().body();
    let valid = secret().sign(&body).to_base64();
    let length = format!("content-length: {}\r\n", body.len());
    for lines in [
        String::new(),
        format!("roomz-signature: {valid}\r\nRoomz-Signature: {valid}\r\n"),
        format!("roomz-signature: {valid}, {valid}\r\n"),
        format!("roomz-signature: \u{e9}{valid}\r\n"),
        format!("roomz-signature: {}\r\n", "A".repeat(8 * 1024)),
        "roomz-signature:\r\n".to_owned(),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{lines}{length}\r\n");
        let response = server.exchange(&[request.as_bytes(), &body[..]].concat()).await;
        assert_eq!(status(&response), "401", "{lines}");
    }
    let spaced = format!("POST / HTTP/1.1\r\nhost: x\r\nROOMZ-SIGNATURE: \t {valid} \t\r\n{length}\r\n");
    let response = server.exchange(&[spaced.as_bytes(), &body[..]].concat()).await;
    assert_eq!(status(&response), "200", "white space around the value, upper-case name");
}

// These tests take no real time: when client and server both wait, the paused clock jumps to the next
// timeout.

#[tokio::test(start_paused = true)]
async fn stalled_body_times_out() {
    let receiver = TestReceiver::new();
    let mut stream = TestServer::start(receiver.service()).await.connect().await;
    let body = TestEvent::busy().body();
    let bytes = delivery(&body);
    let start = Instant::now();
    stream.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    let response = read_response(&mut stream).await;
    assert_eq!(status(&response), "408", "{response}");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(receiver.store.total_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn slow_body_times_out() {
    let receiver = TestReceiver::new();
    let stream = TestServer::start(receiver.service()).await.connect().await;
    let (mut read, mut write) = stream.into_split();
    let body = TestEvent::busy().body();
    let start = Instant::now();
    write.write_all(head(&body, &format!("content-length: {}\r\n", body.len())).as_bytes()).await.unwrap();
    let slow = tokio::spawn(async move {
        for byte in body {
            sleep(Duration::from_secs(1)).await;
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let mut response = vec![0; 12];
    read.read_exact(&mut response).await.unwrap();
    assert_eq!(response, b"HTTP/1.1 408");
    assert!((10..12).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    slow.abort();
}

/// The timeout of the server applies, not one of the layer.
#[tokio::test(start_paused = true)]
async fn slow_head_times_out() {
    let server = TestServer::start(TestReceiver::new().service()).await;
    for sent in ["", "POST /webhooks/roomz HTTP/1.1\r\nhost: loc"] {
        let mut stream = server.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let start = Instant::now();
        let response = read_response(&mut stream).await;
        assert!(response.is_empty() || status(&response) == "408", "{response}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn handler_finishes_after_connection_closed() {
    let finished = Arc::new(AtomicBool::new(false));
    let flag = finished.clone();
    let receiver = TestReceiver::with_handler(move |_| {
        let flag = flag.clone();
        async move {
            sleep(Duration::from_secs(5)).await;
            flag.store(true, Ordering::SeqCst);
            Ok(StatusCode::OK)
        }
    });
    let server = TestServer::start(receiver.service()).await;
    let body = TestEvent::busy().body();
    let mut stream = server.connect().await;
    stream.write_all(&delivery(&body)).await.unwrap();
    while receiver.runs() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    sleep(Duration::from_secs(1)).await;
    receiver.layer.drain().await;
    assert!(finished.load(Ordering::SeqCst));
    assert_eq!(receiver.store.calls(Op::Complete), 1);
    let duplicate = server.exchange(&delivery(&body)).await;
    assert!(duplicate.contains("roomz-webhook-skipped: duplicate"), "{duplicate}");
}

#[tokio::test]
async fn rejects_invalid_http() {
    let receiver = TestReceiver::new();
    let server = TestServer::start(receiver.service()).await;
    for bytes in [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", &[0xff; 100_000]] {
        let response = server.exchange(bytes).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 4"), "{response}");
    }
    assert_eq!(status(&server.exchange(&delivery(&TestEvent::busy().body())).await), "200");
}
