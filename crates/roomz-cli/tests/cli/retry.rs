use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use axum::response::IntoResponse as _;
use http::StatusCode;

use crate::support::{Receiver, problem, with_secret};

fn busy(retry_after: &'static str) -> axum::response::Response {
    let mut response = problem(503, "in-flight");
    response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
    response
}

#[test]
fn without_retry_a_503_is_final() {
    let receiver = Receiver::answering(|_, _| busy("0"));
    let ran = with_secret(&["send", &receiver.url]);
    ran.fails(1, &["1 of 1 deliveries", "1 × 503 in-flight", "--retry"]);
    assert_eq!(receiver.seen().len(), 1);
}

#[test]
fn with_retry_the_same_bytes_come_again_until_they_are_accepted() {
    let receiver =
        Receiver::answering(|number, _| if number < 3 { busy("0") } else { StatusCode::OK.into_response() });
    // The receiver asks for no wait; the back-off alone would take minutes.
    let ran = with_secret(&["send", &receiver.url, "--retry", "--back-off", "100"]);
    ran.succeeds();
    assert!(ran.out.contains("3 retries"), "{}", ran.out);
    assert_eq!((ran.row("sent"), ran.row("2xx"), ran.row("503 in-flight")), (4, 1, 3));
    let seen = receiver.seen();
    assert!(seen.iter().all(|one| one.body == seen[0].body && one.signature() == seen[0].signature()));
}

#[test]
fn retries_are_bounded() {
    for (flag, tries) in [("--retry", 5), ("--retry=2", 3), ("--retry=0", 1)] {
        let receiver = Receiver::answering(|_, _| busy("Sun, 06 Nov 1994 08:49:37 GMT"));
        let json = with_secret(&["send", &receiver.url, flag, "--json"]);
        json.fails(1, &["1 × 503 in-flight"]);
        assert_eq!(json.json()["retries"], tries - 1);
        assert_eq!(receiver.seen().len(), tries);
    }
}

#[test]
fn a_broken_connection_is_counted_and_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let receiver = std::thread::spawn(move || {
        for number in 0.. {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            if number == 2 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                return;
            }
        }
    });
    let ran = with_secret(&["send", &url, "--retry", "--back-off", "0"]);
    ran.succeeds();
    assert_eq!((ran.row("sent"), ran.row("2xx"), ran.row("connection errors")), (3, 1, 2));
    receiver.join().unwrap();
}

#[test]
fn a_receiver_that_is_not_there_is_tried_as_often_as_allowed() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = with_secret(&["send", &format!("http://{closed}/"), "--retry=3", "--back-off", "0"]);
    ran.fails(1, &["1 × connection refused", "see that the receiver runs"]);
    assert_eq!((ran.row("sent"), ran.row("connection refused")), (4, 4));
}

#[test]
fn no_answer_in_time_is_a_connection_error() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let began = std::time::Instant::now();
    let ran = with_secret(&["send", &url, "--timeout", "0.05"]);
    assert!(began.elapsed().as_secs() < 10);
    ran.fails(1, &["1 × no answer within 0.05 s", "raise --timeout"]);
    assert_eq!(ran.row("connection errors"), 1);
}

#[test]
fn a_connection_that_the_receiver_closed_in_between_is_opened_anew() {
    let receiver = Receiver::answering(|_, _| (StatusCode::OK, [("connection", "close")]));
    let ran = with_secret(&["send", &receiver.url, "--count", "20", "--connections", "2"]);
    ran.succeeds();
    assert_eq!((ran.row("2xx"), ran.row("connection errors")), (20, 0));
}
