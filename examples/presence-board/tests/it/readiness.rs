//! `/readyz` of the program, with a real store, and the delay before the shutdown.

#![cfg(unix)] // the tests stop the program with a signal

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::program::Program;
use roomz_axum::testing::TestEvent;
use roomz_tests::Server;

/// The status and the last line of the response to a GET request.
fn get(program: &Program, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(program.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.get(9..12).expect(&response).parse().unwrap();
    (status, response.lines().last().unwrap().to_owned())
}

/// Asks until the status is the expected one. Returns the last line.
fn wait_for_status(program: &Program, expected: u16) -> String {
    let start = Instant::now();
    loop {
        let (status, line) = get(program, "/readyz");
        if status == expected {
            return line;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still {status} {line:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn not_ready_while_store_is_down() {
    let Some(mut server) = Server::redis_or_skip(&[]) else { return };
    let program =
        Program::start(&["--listen", "127.0.0.1:0", "--store", &format!("redis://{}", server.address())]);
    assert_eq!(wait_for_status(&program, 200), "ready");

    server.kill();
    assert!(wait_for_status(&program, 503).starts_with("the store of the receiver is unavailable"));
    assert_eq!(program.deliver(&TestEvent::busy()), 503);
    assert_eq!(get(&program, "/healthz"), (200, "ok".to_owned()));

    server.restart();
    assert_eq!(wait_for_status(&program, 200), "ready");
    assert_eq!(program.deliver(&TestEvent::busy()), 200);
}

#[test]
fn handles_deliveries_during_shutdown_delay() {
    let program = Program::start(&["--listen", "127.0.0.1:0", "--shutdown-delay", "5"]);
    assert_eq!(get(&program, "/readyz"), (200, "ready".to_owned()));
    program.signal("TERM");
    assert!(wait_for_status(&program, 503).starts_with("the receiver is shutting down"));
    assert_eq!(program.deliver(&TestEvent::busy()), 200);
    assert!(program.wait().success());
}
