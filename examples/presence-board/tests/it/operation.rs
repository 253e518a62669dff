//! What an operator of the program relies on: the log, and secrets that are replaced without a restart.

#![cfg(unix)] // a reload is a SIGHUP

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::program::{Program, command};
use presence_board::store::without_credentials;
use roomz_axum::Secret;
use roomz_axum::testing::TestEvent;
use roomz_tests::Server;
use serde_json::Value;

const FORGED_REQUESTS: usize = 20_000;
const ROTATIONS: usize = 10;

/// A directory for the secrets and the log of a program.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A command that logs to the file `log`.
    fn command(&self) -> Command {
        let mut command = command();
        let log = File::options().append(true).create(true).open(self.path("log")).unwrap();
        command.env("RUST_LOG", "info").args(["--listen", "127.0.0.1:0"]).stderr(log);
        command
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits until the log has this number of lines with this text.
    fn wait_for_log(&self, text: &str, count: usize) {
        let start = Instant::now();
        while self.log().lines().filter(|line| line.contains(text)).count() < count {
            assert!(start.elapsed() < Duration::from_secs(60), "{text:?} is not in {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn secret(generation: usize) -> String {
    format!("secret of generation {generation}")
}

fn deliver(board: &Program, generation: usize) -> u16 {
    board.deliver_with(&TestEvent::busy(), &Secret::new(secret(generation)).unwrap())
}

/// The procedure of the README. ROOMZ changes its secret while both are accepted.
#[test]
fn rotation_under_load_rejects_nothing() {
    let files = Files::new();
    let (new, old) = (files.write("new", &secret(0)), files.write("old", &secret(0)));
    let board = Program::spawn(files.command().args(["--secret-file", &new, "--secret-file", &old]));

    // The secret with which ROOMZ signs. Changing it waits for the deliveries in flight.
    let generation = RwLock::new(0);
    let (is_finished, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_finished.load(Ordering::SeqCst) {
                    let generation = generation.read().unwrap();
                    assert_eq!(deliver(&board, *generation), 200);
                    delivered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for next in 1..=ROTATIONS {
            files.write("new", &secret(next));
            board.signal("HUP");
            files.wait_for_log("secrets reloaded secrets=2", 2 * next - 1);
            assert_eq!(deliver(&board, next - 1), 200, "the old secret");
            *generation.write().unwrap() = next;
            files.write("old", &secret(next));
            board.signal("HUP");
            files.wait_for_log("secrets reloaded secrets=2", 2 * next);
            assert_eq!(deliver(&board, next - 1), 401, "the removed secret");
        }
        is_finished.store(true, Ordering::SeqCst);
    });
    assert!(delivered.load(Ordering::SeqCst) > ROTATIONS, "deliveries arrived between the rotations");
    let metrics = board.get("/metrics");
    let verified = |position: &str| value(&metrics, &format!("verified_total{{secret={position:?}}}"));
    assert!(verified("1") >= ROTATIONS as f64, "the old secret is the second one");
    assert!(board.stop().0.success());
    assert!(!files.log().contains("secret of generation"), "the log contains a secret");
}

/// The value of the only series with this text.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find(|line| line.contains(series) && !line.starts_with('#')).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn bad_secret_file_keeps_old_secrets() {
    let files = Files::new();
    let file = files.write("secret", &secret(0));
    let board = Program::spawn(files.command().args(["--secret-file", &file]));
    for (number, (bad, cause)) in
        [(Some("hunter2\n"), "ends with a newline"), (Some(""), "is empty"), (None, "No such file")]
            .into_iter()
            .enumerate()
    {
        match bad {
            Some(text) => drop(files.write("secret", text)),
            None => std::fs::remove_file(&file).unwrap(),
        }
        board.signal("HUP");
        files.wait_for_log("ERROR presence_board::secret_files: secrets not reloaded", number + 1);
        let log = files.log();
        let line = log.lines().last().unwrap();
        assert!(line.contains(&file) && line.contains(cause), "{line}");
        assert!(!log.contains("hunter2"), "{log}");
        assert_eq!(deliver(&board, 0), 200);
        assert_eq!(value(&board.get("/metrics"), "secrets_last_reload_successful"), 0.0);
    }
    files.write("secret", &secret(1));
    board.signal("HUP");
    files.wait_for_log("secrets reloaded secrets=1", 1);
    assert_eq!((deliver(&board, 0), deliver(&board, 1)), (401, 200));
    assert_eq!(value(&board.get("/metrics"), "secrets_last_reload_successful"), 1.0);
}

/// The default action of SIGHUP would end the program.
/// The default action of SIGHUP would end the process, for example while it waits for a slow store.
#[test]
#[cfg(target_os = "linux")]
fn sighup_during_start_reloads_secrets() {
    let files = Files::new();
    let file = files.write("secret", &secret(0));
    // Accepts connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("redis://{}", silent.local_addr().unwrap());
    let mut board = files.command().args(["--secret-file", &file, "--store", &store]).spawn().unwrap();
    let status = format!("/proc/{}/status", board.id());
    let handles_hangup = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(caught, 16).unwrap() & 1 == 1
    };
    while !handles_hangup() {
        assert!(board.try_wait().unwrap().is_none(), "{}", files.log());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(
        std::process::Command::new("kill")
            .args(["-HUP", &board.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    files.wait_for_log("secrets reloaded secrets=1", 1);
    board.kill().unwrap();
    board.wait().unwrap();
}

#[test]
fn sighup_without_secret_file_is_warning() {
    let files = Files::new();
    let board = Program::spawn(&mut files.command());
    board.signal("HUP");
    files.wait_for_log("WARN presence_board::secret_files: no secret file to reload", 1);
    assert_eq!(board.deliver(&TestEvent::busy()), 200);
}

#[test]
fn logs_start_and_stop_in_json() {
    let files = Files::new();
    let claims = files.path("claims.db");
    let url = format!("sqlite://{}", claims.display());
    let board = Program::spawn(files.command().args(["--log-format", "json", "--store", &url]));
    let address = board.address().to_owned();
    assert_eq!(board.deliver(&TestEvent::busy()), 200);
    assert!(board.stop().0.success());
    let lines: Vec<Value> = files.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
    for (line, message) in [(first, "started"), (last, "stopped")] {
        assert_eq!(line["message"], message);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(line["address"], address);
        assert_eq!(line["store"], url);
    }
    let handled = lines.iter().find(|line| line["message"] == "event handled").unwrap();
    assert_eq!(handled["span"]["event.type"], "workspace.presence.changed");
}

#[test]
fn logs_start_and_stop_in_text() {
    let files = Files::new();
    let board = Program::spawn(&mut files.command());
    let address = board.address().to_owned();
    assert!(board.stop().0.success());
    let fields = format!("version=\"0.0.0\" address={address} store=\"memory\"");
    files.wait_for_log(&format!("INFO presence_board: started {fields} secrets=1"), 1);
    files.wait_for_log(&format!("INFO presence_board: stopped {fields}"), 1);
}

/// In JSON, an error that ends the program is a line of the log as well.
#[test]
fn failed_start_is_json() {
    let files = Files::new();
    let status =
        files.command().args(["--log-format", "json", "--store", "mysql://u:hunter2@h/d"]).status().unwrap();
    assert!(!status.success());
    let line: Value = serde_json::from_str(&files.log()).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&Value::from("ERROR"), &Value::from("failed")));
    assert!(line["error"].as_str().unwrap().starts_with("--store: unsupported store URL"), "{line}");
    assert!(!files.log().contains("hunter2"));
}

#[test]
fn rejects_invalid_log_level() {
    let files = Files::new();
    let status = files.command().env("RUST_LOG", "presence_board=loud").status().unwrap();
    assert_eq!(status.code(), Some(2));
    let expected = "presence-board: invalid RUST_LOG=\"presence_board=loud\"; use for example RUST_LOG=info";
    assert!(files.log().starts_with(expected), "{}", files.log());
}

#[test]
fn store_is_logged_without_credentials() {
    for (url, logged) in [
        ("memory", "memory"),
        ("redis://localhost", "redis://localhost"),
        ("redis://:hunter2@localhost:6379/1", "redis://localhost:6379/1"),
        ("redis+sentinel://user:hunter2@a:1,b:2/main", "redis+sentinel://a:1,b:2/main"),
        ("postgres://user:hun@ter/2@db/roomz?sslmode=require", "postgres://db/roomz"),
        ("postgres://db/roomz?user=u&password=hunter2", "postgres://db/roomz"),
        ("postgres://db/roomz?password=hun@ter2", "postgres://…"),
        ("redis://:hun?ter2@localhost", "redis://…"),
        ("rediss://:hun#ter2@localhost", "rediss://…"),
        ("sqlite:///var/lib/board/claims.db?mode=rwc", "sqlite:///var/lib/board/claims.db"),
    ] {
        assert_eq!(without_credentials(url), logged);
    }
}

/// The number of log lines does not depend on the number of requests. Anybody can send them.
#[test]
fn forged_requests_are_summarized_in_log() {
    let files = Files::new();
    let board = Program::spawn(&mut files.command());
    let body = TestEvent::busy().body();
    let signature = Secret::new("a guess").unwrap().sign(&body).to_base64();
    let request = format!(
        "POST /webhooks/roomz HTTP/1.1\r\nhost: localhost\r\nroomz-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [request.as_bytes(), &body].concat();
    let mut stream = TcpStream::connect(board.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let responses = BufReader::new(stream.try_clone().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..FORGED_REQUESTS {
                stream.write_all(&request).unwrap();
            }
        });
        // The bodies do not end with a newline.
        let rejected = responses
            .lines()
            .filter(|line| line.as_ref().unwrap().contains("HTTP/1.1 401"))
            .take(FORGED_REQUESTS);
        assert_eq!(rejected.count(), FORGED_REQUESTS);
    });
    assert_eq!(
        value(&board.get("/metrics"), "rejected_total{reason=\"signature-mismatch\"}"),
        FORGED_REQUESTS as f64
    );
    assert!(board.stop().0.success());
    let log = files.log();
    // Start, stop, and one line per minute.
    assert!(log.lines().count() <= 10, "{log}");
    assert!(log.contains("unsigned requests rejected count="), "{log}");
}

/// A store that hangs, and one that is down.
#[test]
fn log_repeats_no_cause() {
    let (redis, postgres) = (Server::redis_or_skip(&[]), Server::postgres_or_skip(&[]));
    let redis = redis.map(|server| (format!("redis://{}", server.address()), server));
    let postgres = postgres.map(|server| (server.postgres_url(), server));
    for (url, mut server) in [redis, postgres].into_iter().flatten() {
        let files = Files::new();
        let board = Program::spawn(files.command().args(["--store", &url]));
        assert_eq!(board.deliver(&TestEvent::busy()), 200);
        server.signal("STOP");
        assert_eq!(board.deliver(&TestEvent::busy()), 503);
        server.kill();
        assert_eq!(board.deliver(&TestEvent::busy()), 503);
        let failed = files.command().args(["--store", &url]).status().unwrap();
        assert!(!failed.success());
        assert_no_repeated_cause(&files.path("log"));
    }
}

fn assert_no_repeated_cause(log: &Path) {
    let log = std::fs::read_to_string(log).unwrap();
    let errors: Vec<_> = log.lines().filter_map(|line| Some(line.split_once("error=")?.1)).collect();
    assert!(errors.len() >= 2, "{log}");
    let failed = log.lines().last().unwrap().strip_prefix("presence-board: --store: ").expect(&log);
    for error in errors.into_iter().chain([failed]) {
        let parts: Vec<_> = error.split([':', '(', ')', ';']).map(str::trim).collect();
        let is_repeated = |(index, part): (usize, &&str)| {
            !part.is_empty() && parts.iter().skip(index + 1).any(|p| p == part)
        };
        assert!(!parts.iter().enumerate().any(is_repeated), "{error}");
    }
}
