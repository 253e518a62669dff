//! The program as its user runs it: what it says to wrong input, how it stops, and the demo.

#![cfg(unix)] // it is stopped with a signal

#[path = "common/program.rs"]
mod program;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use program::{Program, command};
use roomz_axum::testing::TestEvent;

/// What it says to these arguments: one line on stderr, and nothing on stdout.
fn refusal(arguments: &[&str]) -> String {
    complaint(command().args(arguments))
}

fn complaint(command: &mut Command) -> String {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if !line.is_empty() {
        // It would run for ever.
        process.kill().unwrap();
    }
    let output = process.wait_with_output().unwrap();
    assert_eq!(line, "", "it said this on stdout");
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.ends_with('\n') && error.starts_with("presence-board: "), "{error}");
    error
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn an_unknown_flag_is_named_and_help_offered() {
    contains(&refusal(&["--dmeo"]), &["'--dmeo'", "--help"]);
    contains(&refusal(&["--listen"]), &["--listen", "--help"]);
    contains(&refusal(&["--demo", "--secret-file", "x"]), &["'--demo'", "'--secret-file <FILE>'", "--help"]);
}

#[test]
fn help_is_no_error_and_names_every_flag() {
    let output = command().arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    contains(&help, &["--listen", "--secret-file", "--store", "--names", "--demo", "127.0.0.1:3000"]);
}

#[test]
fn a_names_file_that_cannot_be_read_is_named() {
    contains(&refusal(&["--names", "/no/such/names.json"]), &["/no/such/names.json", "--names", "exists"]);
}

#[test]
fn a_names_file_that_cannot_be_understood_says_where_and_what_is_expected() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.json");
    let id = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5";
    for (json, says) in [
        ("{".to_owned(), "line 1 column 1"),
        ("[]".to_owned(), "expected an object with a member for each workspace"),
        (r#"{"desk": {"name": "Desk"}}"#.to_owned(), r#"the key "desk" is not a UUID"#),
        (format!(r#"{{"{id}": {{"floor": "1"}}}}"#), "missing field `name`"),
        (format!(r#"{{"{id}": {{"name": "Desk", "flor": "1"}}}}"#), "unknown field `flor`"),
        (format!(r#"{{"{id}": {{"name": "A"}}, "{{{id}}}": {{"name": "B"}}}}"#), "is there twice"),
    ] {
        std::fs::write(&file, &json).unwrap();
        let error = refusal(&["--names", file.to_str().unwrap()]);
        contains(&error, &[file.to_str().unwrap(), says, r#"{"WORKSPACE-UUID": {"name": "#]);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    contains(&refusal(&["--listen", &address]), &[&address, "--listen HOST:PORT"]);
    contains(&refusal(&["--listen", "nowhere"]), &["nowhere", "--listen HOST:PORT"]);
}

#[test]
fn a_missing_or_unusable_secret_says_where_it_belongs() {
    let error = complaint(command().env_remove("ROOMZ_WEBHOOK_SECRET"));
    contains(&error, &["ROOMZ_WEBHOOK_SECRET is not set", "--secret-file", "--demo"]);

    contains(&refusal(&["--secret-file", "/no/such/secret"]), &["/no/such/secret", "cannot be read"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "with a newline\n").unwrap();
    let error = refusal(&["--secret-file", file.to_str().unwrap()]);
    contains(&error, &["ends with a newline", "printf"]);
    assert!(!error.contains("with a newline\n"), "the secret is not quoted: {error}");
}

#[test]
fn an_unknown_store_says_what_there_is_and_repeats_no_password() {
    for url in ["mysql://root:hunter2@localhost/x", "hunter2", "", "redis://:hunter2@", "sqlite::memory:"] {
        let error = refusal(&["--store", url, "--listen", "127.0.0.1:0"]);
        contains(&error, &["--store: "]);
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = refusal(&["--store", "mysql://localhost/x"]);
    contains(&error, &["memory", "redis://", "postgres://", "sqlite://"]);
    let error = refusal(&["--store", "redis://127.0.0.1:1"]);
    assert_eq!(error.matches("Connection refused").count(), 1, "each cause once: {error}");
}

#[test]
fn a_secret_from_a_file_and_ids_in_sqlite_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, claims) = (directory.path().join("secret"), directory.path().join("claims.db"));
    std::fs::write(&secret, "the webhook secret").unwrap();
    let store = format!("sqlite://{}", claims.display());
    let arguments = ["--listen", "127.0.0.1:0", "--store", &store, "--secret-file", secret.to_str().unwrap()];
    let event = TestEvent::busy();
    for stats in [r#""handled":1,"duplicates":0"#, r#""handled":0,"duplicates":1"#] {
        let board = Program::start(&arguments);
        assert_eq!(board.deliver(&event), 200);
        contains(&get(&board, "/api/stats"), &[stats]);
        assert!(board.stop().0.success());
    }
}

#[test]
fn it_stops_at_once_although_pages_are_connected() {
    let board = Program::start(&["--listen", "127.0.0.1:0"]);
    let readers: Vec<_> = (0..3).map(|_| events(&board)).collect();
    let (status, took) = board.stop();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    for reader in readers {
        assert!(reader.lines().all(|line| line.is_ok()), "the stream ends as streams should");
    }
}

#[test]
fn the_demo_delivers_to_itself_and_nobody_else_knows_its_secret() {
    let board = Program::start(&["--demo", "--listen", "127.0.0.1:0"]);
    let mut reader = events(&board);
    let mut line = String::new();
    while handled(&line).is_none_or(|handled| handled < 22) {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    contains(&get(&board, "/api/presence"), &["Sarine", "Second floor", "Busy", "Free"]);
    assert_eq!(board.deliver(&TestEvent::free()), 401, "its secret is its own");
    assert!(board.stop().0.success());
}

#[test]
fn the_metrics_are_those_of_the_layer_and_the_board() {
    let board = Program::start(&["--listen", "127.0.0.1:0"]);
    let workspace = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5".parse().unwrap();
    assert_eq!(board.deliver(&program::change(workspace, 1, "Busy")), 200);
    assert_eq!(board.deliver(&program::change(workspace, 2, "Free")), 200);
    let forger = roomz_axum::Secret::new("a guess").unwrap();
    assert_eq!(board.deliver_as(&TestEvent::free(), &forger), 401);
    contains(
        &get(&board, "/metrics"),
        &[
            "roomz_webhook_handled_total 2\n",
            "roomz_webhook_rejected_total{reason=\"signature-mismatch\"} 1\n",
            "presence_board_late_total 1\n",
        ],
    );
}

/// The counter in a line of a stream.
fn handled(line: &str) -> Option<u64> {
    line.split_once(r#""handled":"#)?.1.split(',').next()?.parse().ok()
}

fn get(board: &Program, path: &str) -> String {
    let mut stream = request(board, path);
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Connected to `/events`, the snapshot on its way.
fn events(board: &Program) -> BufReader<TcpStream> {
    let mut reader = BufReader::new(request(board, "/events"));
    let mut line = String::new();
    while line.trim_end() != "event: snapshot" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    reader
}

fn request(board: &Program, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(board.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    stream
}
