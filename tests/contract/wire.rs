//! What only a socket shows: slow, stalled, lying and vanishing clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use roomz_tests::{Op, Rig, Wire, secret};
use roomz_webhook::testing::TestEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

fn head(body: &[u8], more: &str) -> String {
    let signature = secret().sign(body).to_base64();
    format!("POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {signature}\r\n{more}\r\n")
}

fn delivery(body: &[u8]) -> Vec<u8> {
    let head = head(body, &format!("content-length: {}\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test]
async fn a_delivery_its_duplicate_and_a_forgery() {
    let rig = Rig::new();
    let wire = Wire::serve(rig.app()).await;
    let body = TestEvent::busy().body();
    assert_eq!(status(&wire.exchange(&delivery(&body)).await), "200");
    let duplicate = wire.exchange(&delivery(&body)).await;
    assert!(duplicate.contains("roomz-webhook-skipped: duplicate"), "{duplicate}");
    let mut forged = delivery(&body);
    *forged.last_mut().unwrap() = b' ';
    let refused = wire.exchange(&forged).await;
    assert_eq!(status(&refused), "401");
    assert!(refused.contains("application/problem+json"), "{refused}");
    assert_eq!(rig.runs(), 1);
}

#[tokio::test]
async fn several_deliveries_on_one_connection() {
    let rig = Rig::new();
    let mut stream = Wire::serve(rig.app()).await.connect().await;
    for _ in 0..5 {
        stream.write_all(&delivery(&TestEvent::busy().body())).await.unwrap();
        assert_eq!(status(&Wire::answer(&mut stream).await), "200");
    }
    assert_eq!(rig.runs(), 5);
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_verified_and_capped() {
    let rig = Rig::with(|builder| builder.with_body_limit(1_000), async |_| Ok(StatusCode::OK));
    let wire = Wire::serve(rig.app()).await;
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
    assert_eq!(status(&wire.exchange(&chunked(&TestEvent::busy().body())).await), "200");
    let long = TestEvent::busy().with("pad", "x".repeat(1_000)).body();
    assert_eq!(status(&wire.exchange(&chunked(&long)).await), "413");
}

#[tokio::test]
async fn a_length_over_the_cap_is_answered_before_the_body_is_sent() {
    let rig = Rig::new();
    let mut stream = Wire::serve(rig.app()).await.connect().await;
    let head = head(b"", "content-length: 1000000000000\r\nexpect: 100-continue\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&Wire::answer(&mut stream).await), "413");
}

#[tokio::test]
async fn a_length_that_promises_too_little_or_too_much_verifies_nothing() {
    let rig = Rig::new();
    let wire = Wire::serve(rig.app()).await;
    let body = TestEvent::busy().body();
    let too_little = [head(&body, "content-length: 10\r\n").as_bytes(), &body[..]].concat();
    assert_eq!(status(&wire.exchange(&too_little).await), "401");

    let mut stream = wire.connect().await;
    let too_much =
        [head(&body, &format!("content-length: {}\r\n", body.len() + 1)).as_bytes(), &body[..]].concat();
    stream.write_all(&too_much).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = Wire::answer(&mut stream).await;
    assert!(answer.is_empty() || status(&answer) == "400", "{answer}");

    for length in ["-1", "1, 2", "0x10", "9999999999999999999999"] {
        let answer = wire.exchange(head(&body, &format!("content-length: {length}\r\n")).as_bytes()).await;
        assert_eq!(status(&answer), "400", "{length}: hyper's own refusal");
    }
    assert_eq!((rig.runs(), rig.store.all_calls()), (0, 0));
}

#[tokio::test]
async fn signature_headers_as_only_a_socket_can_send_them() {
    let rig = Rig::new();
    let wire = Wire::serve(rig.app()).await;
    let body = TestEvent::busy().body();
    let good = secret().sign(&body).to_base64();
    let length = format!("content-length: {}\r\n", body.len());
    for lines in [
        String::new(),
        format!("roomz-signature: {good}\r\nRoomz-Signature: {good}\r\n"),
        format!("roomz-signature: {good}, {good}\r\n"),
        format!("roomz-signature: \u{e9}{good}\r\n"),
        format!("roomz-signature: {}\r\n", "A".repeat(8 * 1024)),
        "roomz-signature:\r\n".to_owned(),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{lines}{length}\r\n");
        let answer = wire.exchange(&[request.as_bytes(), &body[..]].concat()).await;
        assert_eq!(status(&answer), "401", "{lines}");
    }
    let spaced = format!("POST / HTTP/1.1\r\nhost: x\r\nROOMZ-SIGNATURE: \t {good} \t\r\n{length}\r\n");
    let answer = wire.exchange(&[spaced.as_bytes(), &body[..]].concat()).await;
    assert_eq!(status(&answer), "200", "HTTP trims white space around a value; a name has no case");
}

// In a paused runtime nothing waits: when client and server both wait, the clock jumps to the next time-out.

#[tokio::test(start_paused = true)]
async fn a_stalled_body_is_408_after_ten_seconds() {
    let rig = Rig::new();
    let mut stream = Wire::serve(rig.app()).await.connect().await;
    let body = TestEvent::busy().body();
    let bytes = delivery(&body);
    let start = Instant::now();
    stream.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    let answer = Wire::answer(&mut stream).await;
    assert_eq!(status(&answer), "408", "{answer}");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(rig.store.all_calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_408_after_ten_seconds() {
    let rig = Rig::new();
    let stream = Wire::serve(rig.app()).await.connect().await;
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
    let mut answer = vec![0; 12];
    read.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert!((10..12).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    slow.abort();
}

#[tokio::test(start_paused = true)]
async fn a_slow_and_a_silent_head_end_with_the_servers_time_out() {
    let wire = Wire::serve(Rig::new().app()).await;
    for sent in ["", "POST /webhooks/roomz HTTP/1.1\r\nhost: loc"] {
        let mut stream = wire.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        let start = Instant::now();
        let answer = Wire::answer(&mut stream).await;
        assert!(answer.is_empty() || status(&answer) == "408", "{answer}");
        assert_eq!(start.elapsed().as_secs(), 10, "after {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_while_the_handler_runs_does_not_cut_it_in_half() {
    let finished = Arc::new(AtomicBool::new(false));
    let seen = finished.clone();
    let rig = Rig::handling(move |_| {
        let seen = seen.clone();
        async move {
            sleep(Duration::from_secs(5)).await;
            seen.store(true, Ordering::SeqCst);
            Ok(StatusCode::OK)
        }
    });
    let wire = Wire::serve(rig.app()).await;
    let body = TestEvent::busy().body();
    let mut stream = wire.connect().await;
    stream.write_all(&delivery(&body)).await.unwrap();
    while rig.runs() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    sleep(Duration::from_secs(1)).await;
    rig.layer.drain().await;
    assert!(finished.load(Ordering::SeqCst));
    assert_eq!(rig.store.calls(Op::Complete), 1);
    let duplicate = wire.exchange(&delivery(&body)).await;
    assert!(duplicate.contains("roomz-webhook-skipped: duplicate"), "{duplicate}");
}

#[tokio::test]
async fn garbage_is_refused_and_the_server_lives() {
    let rig = Rig::new();
    let wire = Wire::serve(rig.app()).await;
    for bytes in [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", &[0xff; 100_000]] {
        let answer = wire.exchange(bytes).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(status(&wire.exchange(&delivery(&TestEvent::busy().body())).await), "200");
}
