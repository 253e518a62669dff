//! Runs the program and delivers events to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use roomz_axum::testing::TestEvent;
use roomz_axum::{Secret, Timestamp, WorkspaceId};

/// The secret that all tests use.
pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}

/// The running program, killed when dropped.
pub struct Program {
    process: Child,
    _output: BufReader<ChildStdout>,
    pub url: String,
}

impl Program {
    /// Starts the program and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(command().args(arguments))
    }

    /// Like [`start`](Self::start), with an environment or a destination of the log.
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").expect(&line).to_owned();
        Self { process, _output: output, url }
    }

    /// `HOST:PORT`
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Sends SIGTERM, as a service manager does. Returns the exit status and the time until the exit.
    pub fn stop(mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal("TERM");
        (self.process.wait().unwrap(), start.elapsed())
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    /// The body of the response to a GET request, which must be 200.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with("HTTP/1.0 200"), "{response}");
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Waits until the program exits.
    pub fn wait(mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// Kills the program with SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Delivers an event and returns the status of the response.
    pub fn deliver(&self, event: &TestEvent) -> u16 {
        self.deliver_with(event, &secret())
    }

    /// Delivers an event that is signed with `secret`.
    pub fn deliver_with(&self, event: &TestEvent, secret: &Secret) -> u16 {
        deliver_to(self.address(), event, secret)
    }
}

/// Delivers an event to a receiver at `HOST:PORT`, and returns the status of the response.
pub fn deliver_to(address: &str, event: &TestEvent, secret: &Secret) -> u16 {
    let body = event.body();
    post(address, &format!("roomz-signature: {}\r\n", secret.sign(&body).to_base64()), &body)
}

/// Posts a body with these lines of the head, and returns the status of the response.
pub fn post(address: &str, lines: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         {lines}content-length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(body).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.get(9..12).expect(&response).parse().unwrap()
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command with the secret in its environment. It logs errors only, unless `RUST_LOG` is set.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence-board"));
    command.env("ROOMZ_WEBHOOK_SECRET", "the webhook secret");
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    command
}

/// A presence change `minutes_ago`, plus 20 seconds. The page's clock can be behind by the transfer time of a
/// snapshot, and must still show this number of minutes.
pub fn change(workspace: WorkspaceId, minutes_ago: u64, status: &str) -> TestEvent {
    let timestamp = Timestamp::now() - Duration::from_secs(60 * minutes_ago + 20);
    TestEvent::presence(status).with_workspace_id(workspace).with_timestamp(timestamp)
}
