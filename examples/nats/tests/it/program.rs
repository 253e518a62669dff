//! The two programs as processes.

#![cfg(unix)] // the tests stop the programs with signals

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::support::{id, secret};
use roomz_axum::testing::TestEvent;
use roomz_tests::Server;

const RECEIVER: &str = env!("CARGO_BIN_EXE_nats");
const CONSUMER: &str = env!("CARGO_BIN_EXE_nats-consumer");

fn command(program: &str, nats_url: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("ROOMZ_WEBHOOK_SECRET", "the webhook secret")
        .env("NATS_URL", nats_url)
        .env("LISTEN", "127.0.0.1:0")
        .env("RUST_LOG", "off");
    command
}

/// A running program. `Drop` kills it.
struct Program {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(program: &str, nats_url: &str) -> Self {
        let mut process = command(program, nats_url).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, output }
    }

    fn next_line(&mut self) -> String {
        self.output.next().expect("the program runs").unwrap()
    }

    /// Sends SIGTERM, like a service manager. Returns the lines that were not read yet.
    fn stop(mut self) -> Vec<String> {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let rest = self.output.by_ref().map(Result::unwrap).collect();
        assert!(self.process.wait().unwrap().success());
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends a delivery and returns the status.
fn deliver(url: &str, event: &TestEvent) -> String {
    let request = event.request::<Vec<u8>>("/", &secret());
    let (signature, body) = (request.headers()["roomz-signature"].to_str().unwrap(), request.body());
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nroomz-signature: {signature}\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.get(9..12).expect(&response).to_owned()
}

#[test]
fn consumer_prints_event_of_receiver() {
    let Some(server) = Server::nats_or_skip("") else { return };
    let url = server.nats_url();
    let mut receiver = Program::start(RECEIVER, &url);
    let listening = receiver.next_line();
    let address = listening.strip_prefix("listening on ").expect(&listening).to_owned();
    let known = TestEvent::busy();
    let unknown = TestEvent::busy().with_type("workspace.booked");
    assert_eq!(deliver(&address, &known), "202");
    assert_eq!(deliver(&address, &unknown), "202");
    assert!(receiver.stop().is_empty());

    // A new receiver has forgotten its claims, the stream has not.
    let mut receiver = Program::start(RECEIVER, &url);
    let listening = receiver.next_line();
    assert_eq!(deliver(listening.strip_prefix("listening on ").unwrap(), &known), "200");

    let mut consumer = Program::start(CONSUMER, &url);
    let line = consumer.next_line();
    assert!(line.starts_with(&id(&known)) && line.ends_with(" Busy"), "{line}");
    assert_eq!(consumer.next_line(), format!("{} workspace.booked", id(&unknown)));
    assert!(consumer.stop().is_empty(), "the duplicate is not printed");
}

/// Each error is one line on standard error that names the setting.
#[test]
fn wrong_settings_are_readable_errors() {
    let Some(server) = Server::nats_or_skip("") else { return };
    let url = server.nats_url();
    let error = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    };
    let no_secret = error(command(RECEIVER, &url).env_remove("ROOMZ_WEBHOOK_SECRET"));
    assert!(no_secret.starts_with("nats: the environment variable ROOMZ_WEBHOOK_SECRET is not set"));
    let address = error(command(RECEIVER, &url).env("LISTEN", "nowhere"));
    assert!(address.contains("nowhere") && address.contains("set LISTEN"), "{address}");
    for (program, name) in [(RECEIVER, "nats"), (CONSUMER, "nats-consumer")] {
        let invalid = error(&mut command(program, "http://127.0.0.1"));
        assert!(invalid.starts_with(&format!("{name}: NATS_URL: invalid scheme")), "{invalid}");
        let refused = error(&mut command(program, "nats://127.0.0.1:1"));
        let start = format!("{name}: NATS_URL: cannot connect to NATS on 127.0.0.1:1: IO error: ");
        assert!(refused.starts_with(&start), "{refused}");
    }
}

#[test]
fn server_without_jetstream_is_readable_error() {
    let Some(server) = Server::nats_or_skip("jetstream: disabled") else { return };
    let output = command(RECEIVER, &server.nats_url()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("NATS_URL: cannot create the stream ROOMZ"), "{error}");
    assert!(error.contains("does its configuration enable `jetstream`?"), "{error}");
}
