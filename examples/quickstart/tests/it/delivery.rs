//! The program as a process. `openssl` and `curl` send the deliveries, because they share no code with the
//! library.

#![cfg(unix)] // the tests stop the program with a signal
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const SECRET: &str = "demo-secret";
const BODY: &str = r#"{"id":"e6ae112e-2af3-4d72-894b-03435d7afde4","type":"workspace.presence.changed","timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0","data":{"workspaceId":"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5","presenceStatus":"Busy"}}"#;

/// The running program. `Drop` kills it.
struct Quickstart {
    process: Child,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Quickstart {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_quickstart"))
            .env("ROOMZ_WEBHOOK_SECRET", SECRET)
            .env("LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
        Self { process, output, url }
    }

    /// Sends SIGTERM, like a service manager.
    fn terminate(&self) {
        let kill = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status().unwrap();
        assert!(kill.success());
    }

    /// Stops the program. Returns the lines that it printed after `listening on`.
    fn stop(self) -> Vec<String> {
        self.terminate();
        self.wait()
    }

    /// Waits for a successful exit. Returns the lines that the program printed after `listening on`.
    fn wait(mut self) -> Vec<String> {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success());
        rest.lines().map(str::to_owned).collect()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether all programs are on the `PATH`. If one is missing, writes a line to standard error, past
/// the output capture of the test runner. With `ROOMZ_TESTS=complete`, the test fails instead.
fn found_or_skip(programs: &[&str]) -> bool {
    let missing: Vec<_> =
        programs.iter().filter(|program| Command::new(program).arg("--version").output().is_err()).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var("ROOMZ_TESTS").as_deref() != Ok("complete"),
        "ROOMZ_TESTS=complete allows no skipped test, but these programs are not on the PATH: {missing:?}"
    );
    let _ = writeln!(
        std::io::stderr(),
        "skipped: deliveries signed by openssl and sent by curl, because these are not on the PATH: {missing:?}"
    );
    false
}

fn sign_with_openssl(body: &str) -> String {
    let mut openssl = Command::new("sh")
        .args(["-c", "openssl dgst -sha512 -hmac \"$0\" -binary | base64 | tr -d '\\n'", SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    String::from_utf8(openssl.wait_with_output().unwrap().stdout).unwrap()
}

/// Sends a delivery. Returns the status and the whole response.
fn curl(url: &str, signature: &str, body: &str) -> (String, String) {
    let output = Command::new("curl")
        .args([
            "-s",
            "-i",
            "--noproxy",
            "*",
            "--max-time",
            "30",
            "-H",
            &format!("Roomz-Signature: {signature}"),
            "-H",
            "Content-Type: application/json",
            "--data-binary",
            body,
        ])
        .arg(format!("{url}/webhooks/roomz"))
        .output()
        .unwrap();
    let response = String::from_utf8(output.stdout).unwrap();
    (response.get(9..12).unwrap_or("no status").to_owned(), response)
}

/// The first delivery prints one line, its duplicate prints none, and a changed byte is 401.
#[test]
fn accepts_delivery_from_openssl_and_curl() {
    if !found_or_skip(&["openssl", "curl"]) {
        return;
    }
    let quickstart = Quickstart::start();
    let signature = sign_with_openssl(BODY);
    let (status, first) = curl(&quickstart.url, &signature, BODY);
    assert_eq!(status, "200", "{first}");
    let (status, second) = curl(&quickstart.url, &signature, BODY);
    assert_eq!(status, "200", "{second}");
    assert!(second.contains("roomz-webhook-skipped: duplicate"), "{second}");
    let (status, forged) = curl(&quickstart.url, &signature, &BODY.replace("Busy", "busy"));
    assert_eq!(status, "401", "{forged}");
    assert!(forged.contains(r#""reason":"signature-mismatch""#), "{forged}");

    let lines = quickstart.stop();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("e6ae112e-2af3-4d72-894b-03435d7afde4") && lines[0].contains("Busy"),
        "{lines:?}"
    );
}

#[test]
fn missing_secret_is_readable_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .env_remove("ROOMZ_WEBHOOK_SECRET")
        .env("LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        error,
        "quickstart: the environment variable ROOMZ_WEBHOOK_SECRET is not set: set it to the webhook secret from ROOMZ\n"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn unusable_address_is_readable_error() {
    for address in ["nowhere", "127.0.0.1:99999"] {
        let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
            .env("ROOMZ_WEBHOOK_SECRET", SECRET)
            .env("LISTEN", address)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(address) && error.contains("set LISTEN"), "{error}");
    }
}

#[test]
fn rejects_other_path_and_method() {
    let quickstart = Quickstart::start();
    let address = quickstart.url.strip_prefix("http://").unwrap();
    for (request_line, status) in
        [("GET /webhooks/roomz", "405"), ("POST /", "404"), ("POST /webhooks/roomz", "401")]
    {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "{request_line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert_eq!(response.get(9..12), Some(status), "{response}");
    }
    assert!(quickstart.stop().is_empty());
}

/// The first signal begins a long shutdown.
#[test]
fn second_signal_ends_at_once() {
    let mut quickstart = Quickstart::start_with(&[("SHUTDOWN_DELAY", "600")]);
    while quickstart.process.try_wait().unwrap().is_none() {
        quickstart.terminate();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(quickstart.process.wait().unwrap().code(), Some(1));
}

#[test]
fn shutdown_finishes_request_in_flight() {
    let quickstart = Quickstart::start();
    let address = quickstart.url.strip_prefix("http://").unwrap().to_owned();
    let signature = roomz_axum::Secret::new(SECRET).unwrap().sign(BODY.as_bytes()).to_base64();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (first_part, last_byte) = BODY.split_at(BODY.len() - 1);
    write!(
        stream,
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {signature}\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        BODY.len()
    )
    .unwrap();
    // The server sends 100 when the layer reads the body.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&interim));
    stream.write_all(first_part.as_bytes()).unwrap();
    quickstart.terminate();
    while TcpStream::connect(&address).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(last_byte.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert_eq!(quickstart.wait().len(), 1, "the handler prints one line");
}
