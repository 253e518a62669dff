use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use axum::response::IntoResponse as _;
use http::StatusCode;

use crate::support::{TestReceiver, problem, run_with_secret};

fn busy(retry_after: &'static str) -> axum::response::Response {
    let mut response = problem(503, "in-flight");
    response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
    response
}

#[test]
fn does_not_retry_by_default() {
    let receiver = TestReceiver::responding(|_, _| busy("0"));
    let output = run_with_secret(&["send", &receiver.url]);
    output.assert_fails(1, &["1 of 1 deliveries", "1 × 503 in-flight", "--retry"]);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn retries_same_bytes_until_accepted() {
    let receiver = TestReceiver::responding(|index, _| match index {
        0..3 => busy("0"),
        _ => StatusCode::OK.into_response(),
    });
    let output = run_with_secret(&["send", &receiver.url, "--retry"]);
    output.assert_succeeds();
    let rows = ["sent", "retries", "accepted", "503 in-flight"].map(|row| output.row(row));
    assert_eq!(rows, [4, 3, 1, 3]);
    let requests = receiver.requests();
    for request in &requests {
        assert_eq!((&request.body, request.signature()), (&requests[0].body, requests[0].signature()));
    }
}

#[test]
fn number_of_retries_is_limited() {
    for (option, attempts) in [("--retry", 5), ("--retry=2", 3), ("--retry=0", 1)] {
        let receiver = TestReceiver::responding(|_, _| busy("0"));
        let json = run_with_secret(&["send", &receiver.url, option, "--json"]);
        json.assert_fails(1, &["1 × 503 in-flight"]);
        assert_eq!(json.json()["retries"], attempts - 1);
        assert_eq!(receiver.requests().len(), attempts);
    }
}

#[test]
fn retries_after_connection_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let receiver = std::thread::spawn(move || {
        for index in 0.. {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            if index == 2 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                return;
            }
        }
    });
    let output = run_with_secret(&["send", &url, "--retry"]);
    output.assert_succeeds();
    assert_eq!((output.row("sent"), output.row("accepted"), output.row("connection_errors")), (3, 1, 2));
    receiver.join().unwrap();
}

#[test]
fn retries_unreachable_receiver() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = run_with_secret(&["send", &format!("http://{closed}/"), "--retry=2"]);
    output.assert_fails(1, &["1 × Connection refused (os error 111)", "check that the receiver is running"]);
    assert_eq!((output.row("sent"), output.row("Connection refused (os error 111)")), (3, 3));
}

#[test]
fn timeout_is_a_connection_error() {
    let unresponsive = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", unresponsive.local_addr().unwrap());
    let started = std::time::Instant::now();
    let output = run_with_secret(&["send", &url, "--timeout", "0.05"]);
    assert!(started.elapsed().as_secs() < 10);
    output.assert_fails(1, &["1 × no response within 0.05 s", "raise --timeout"]);
    // There is no answer to print.
    assert_eq!(output.stdout, "");
}

#[test]
fn reconnects_after_receiver_closes() {
    let receiver = TestReceiver::responding(|_, _| (StatusCode::OK, [("connection", "close")]));
    let output = run_with_secret(&["send", &receiver.url, "--count", "20", "--connections", "2"]);
    output.assert_succeeds();
    assert_eq!((output.row("accepted"), output.row("connection_errors")), (20, 0));
}
