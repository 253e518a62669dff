//! The program from the command line: errors, shutdown, restart, metrics and the demo.

#![cfg(unix)] // the tests stop the program with a signal

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::{Program, command};
use roomz_axum::testing::TestEvent;
use roomz_tests::Server;

/// The error message that the program prints for these arguments.
fn error_for(arguments: &[&str]) -> String {
    error_of(command().args(arguments))
}

/// The error message of a program that fails at the start: one line on stderr, and nothing on stdout.
fn error_of(command: &mut Command) -> String {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if !line.is_empty() {
        // The program has started and would not exit.
        process.kill().unwrap();
    }
    let output = process.wait_with_output().unwrap();
    assert_eq!(line, "", "stdout");
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.ends_with('\n') && error.starts_with("presence-board: "), "{error}");
    error
}

fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn rejects_unknown_option() {
    for (arguments, parts) in [
        (&["--dmeo"][..], &["'--dmeo'", "--help"][..]),
        (&["--listen"], &["--listen", "--help"]),
        (&["--log-format", "xml"], &["'xml'", "--log-format <FORMAT>", "--help"]),
        (&["--demo", "--secret-file", "x"], &["'--demo'", "'--secret-file <FILE>'", "--help"]),
    ] {
        let output = command().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_contains(&String::from_utf8(output.stderr).unwrap(), parts);
    }
}

#[test]
fn help_lists_every_option() {
    let output = command().arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    assert_contains(
        &help,
        &["--listen", "--secret-file", "--store", "--names", "--log-format", "--demo", "127.0.0.1:3000"],
    );
}

#[test]
fn rejects_missing_names_file() {
    assert_contains(
        &error_for(&["--names", "/no/such/names.json"]),
        &["/no/such/names.json", "--names", "readable"],
    );
}

#[test]
fn names_file_is_read_without_byte_order_mark() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.json");
    let json = r#"{"5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5": {"name": "Desk"}}"#;
    std::fs::write(&file, format!("\u{feff}{json}")).unwrap();
    assert_eq!(presence_board::names::Names::read(&file).unwrap().ids().count(), 1);
}

#[test]
fn rejects_invalid_names_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.json");
    let id = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5";
    for (json, cause) in [
        ("{".to_owned(), "line 1 column 1"),
        ("[]".to_owned(), "expected an object with one member per workspace"),
        (r#"{"desk": {"name": "Desk"}}"#.to_owned(), r#"the key "desk" is not a UUID"#),
        (format!(r#"{{"{id}": {{"floor": "1"}}}}"#), "missing field `name`"),
        (format!(r#"{{"{id}": {{"name": "Desk", "flor": "1"}}}}"#), "unknown field `flor`"),
        (format!(r#"{{"{id}": {{"name": "A"}}, "{{{id}}}": {{"name": "B"}}}}"#), "duplicate workspace"),
    ] {
        std::fs::write(&file, &json).unwrap();
        let error = error_for(&["--names", file.to_str().unwrap()]);
        assert_contains(&error, &[file.to_str().unwrap(), cause, r#"{"WORKSPACE-UUID": {"name": "#]);
    }
}

#[test]
fn rejects_unusable_listen_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_contains(&error_for(&["--listen", &address]), &[&address, "--listen HOST:PORT"]);
    assert_contains(&error_for(&["--listen", "nowhere"]), &["nowhere", "--listen HOST:PORT"]);
}

#[test]
fn rejects_missing_or_invalid_secret() {
    let error = error_of(command().env_remove("ROOMZ_WEBHOOK_SECRET"));
    assert_contains(&error, &["ROOMZ_WEBHOOK_SECRET is not set", "--secret-file", "--demo"]);

    assert_contains(
        &error_for(&["--secret-file", "/no/such/secret"]),
        &["/no/such/secret", "cannot be read"],
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "with a newline\n").unwrap();
    let error = error_for(&["--secret-file", file.to_str().unwrap()]);
    assert_contains(&error, &["ends with a newline", "printf"]);
    assert!(!error.contains("with a newline\n"), "the message quotes the secret: {error}");
}

#[test]
fn store_errors_do_not_contain_the_password() {
    for url in ["mysql://root:hunter2@localhost/x", "hunter2", "", "redis://:hunter2@", "sqlite::memory:"] {
        let error = error_for(&["--store", url, "--listen", "127.0.0.1:0"]);
        assert_contains(&error, &["--store: "]);
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = error_for(&["--store", "mysql://localhost/x"]);
    assert_contains(&error, &["memory", "redis://", "postgres://", "sqlite://"]);
    for url in ["redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/claims"] {
        assert_contains(
            &error_for(&["--store", url]),
            &["--store: the Redis ", " 127.0.0.1:1 is not reachable"],
        );
    }
    let error = error_for(&["--store", "redis://127.0.0.1:1"]);
    assert_eq!(error.matches("Connection refused").count(), 1, "one mention of each cause: {error}");
}

#[test]
fn sqlite_store_keeps_ids_over_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, claims) = (directory.path().join("secret"), directory.path().join("claims.db"));
    std::fs::write(&secret, "the webhook secret").unwrap();
    let store = format!("sqlite://{}", claims.display());
    let arguments = ["--listen", "127.0.0.1:0", "--store", &store, "--secret-file", secret.to_str().unwrap()];
    let event = TestEvent::busy();
    for stats in [r#""handled":1,"duplicates":0"#, r#""handled":0,"duplicates":1"#] {
        let board = Program::start(&arguments);
        assert_eq!(board.deliver(&event), 200);
        assert_contains(&get(&board, "/api/stats"), &[stats]);
        assert!(board.stop().0.success());
    }
}

/// A board that was killed, and a second board on the same database, show what the first one received.
#[test]
fn sql_store_keeps_presence() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}", directory.path().join("claims.db").display());
    for store in [Some(sqlite), roomz_tests::postgres_url_or_skip()].into_iter().flatten() {
        let arguments = ["--listen", "127.0.0.1:0", "--store", &store];
        let board = Program::start(&arguments);
        let workspaces = [1, 2, 3].map(|id| format!("{id:032}").parse().unwrap());
        for (workspace, status) in workspaces.iter().zip(["Busy", "Free", "Offline"]) {
            assert_eq!(board.deliver(&crate::support::program::change(*workspace, 2, status)), 200);
        }
        let shown = presence(&board);
        assert_contains(&shown, &["Busy", "Free", "Offline"]);
        board.kill();

        let board = Program::start(&arguments);
        assert_eq!(presence(&board), shown, "after SIGKILL");
        let stats = get(&board, "/api/stats");
        assert!(!stats.contains(r#""last_delivery_at":null"#), "{stats}");
        let other = Program::start(&arguments);
        assert_eq!(presence(&other), shown, "on a second board");
        assert_eq!(board.deliver(&crate::support::program::change(workspaces[0], 1, "Free")), 200);
        let shown = presence(&board);
        eventually(|| presence(&other) == shown);
        assert_eq!(
            board.deliver(&crate::support::program::change(workspaces[0], 3, "Busy")),
            200,
            "a late event"
        );
        assert_eq!(presence(&board), shown);
    }
}

/// Each connection of the board works with the default settings of PgBouncer.
#[test]
fn works_behind_pgbouncer() {
    let Some(postgres) = Server::postgres_or_skip(&[]) else { return };
    for pool_mode in ["session", "transaction"] {
        let Some(pooler) = Server::pgbouncer_or_skip(&postgres, pool_mode) else { return };
        // A parameter of other drivers is ignored, as by the store.
        let url = format!("{}?pgbouncer=true", pooler.postgres_url());
        if pool_mode == "session" {
            // Creates the table that `--inbox` reads.
            drop(Program::start(&["--listen", "127.0.0.1:0", "--store", &url]));
        }
        let arguments = ["--listen", "127.0.0.1:0", "--store", &url, "--inbox", &url];
        let (board, other) = (Program::start(&arguments), Program::start(&arguments));
        for (number, status) in (1..).zip(["Busy", "Free", "Offline"]) {
            let workspace = format!("{number:032}").parse().unwrap();
            assert_eq!(board.deliver(&crate::support::program::change(workspace, 2, status)), 200);
        }
        let shown = presence(&board);
        assert_contains(&shown, &["Busy", "Free", "Offline"]);
        eventually(|| presence(&other) == shown);
        eventually(|| get(&board, "/api/stats").contains(r#""inbox":{"waiting":0"#));
    }
}

/// A backup of the database is restored while the board runs. It lacks the last change.
#[test]
fn shows_restored_database() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let board = Program::start(&["--listen", "127.0.0.1:0", "--store", &server.postgres_url()]);
    let deliver = |number: u32, status| {
        let workspace = format!("{number:032}").parse().unwrap();
        let event = crate::support::program::change(workspace, 2, status);
        eventually(|| board.deliver(&event) == 200);
    };
    deliver(1, "Busy");
    let before = presence(&board);
    server.kill();
    server.save_data();
    server.restart();
    deliver(2, "Free");
    assert!(presence(&board).contains("Free"));
    let mut page = open_events(&board);
    server.kill();
    server.restore_data();
    server.restart();
    eventually(|| presence(&board) == before);
    // A page that is connected starts again.
    let mut line = String::new();
    while line.trim_end() != "event: snapshot" {
        line.clear();
        assert!(page.read_line(&mut line).unwrap() > 0, "the stream ended");
    }
    deliver(3, "Offline");
    assert_contains(&presence(&board), &["Busy", "Offline"]);
}

#[test]
fn shows_inbox() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("inbox.db").display());
    assert_contains(&error_for(&["--inbox", &url]), &["--inbox: "]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inbox = runtime.block_on(roomz_inbox::Inbox::connect(url.as_str())).unwrap();
    drop(inbox);
    let board = Program::start(&["--listen", "127.0.0.1:0", "--inbox", &url]);
    let counts = r#""inbox":{"waiting":0,"running":0,"dead":0,"oldest_seconds":0}"#;
    eventually(|| get(&board, "/api/stats").contains(counts));
}

/// Waits until a running program shows something.
fn eventually(is_shown: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_shown() {
        assert!(start.elapsed() < Duration::from_secs(30), "not shown");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The body of `/api/presence`.
fn presence(board: &Program) -> String {
    get(board, "/api/presence").split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn stops_at_once_with_connected_pages() {
    let board = Program::start(&["--listen", "127.0.0.1:0"]);
    let streams: Vec<_> = (0..3).map(|_| open_events(&board)).collect();
    let (status, duration) = board.stop();
    assert!(status.success(), "{status}");
    assert!(duration < Duration::from_secs(3), "{duration:?}");
    for stream in streams {
        assert!(stream.lines().all(|line| line.is_ok()), "the stream ends without an error");
    }
}

#[test]
fn demo_uses_its_own_secret() {
    let board = Program::start(&["--demo", "--listen", "127.0.0.1:0"]);
    let mut stream = open_events(&board);
    let mut line = String::new();
    while handled_count(&line).is_none_or(|handled| handled < 22) {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0);
    }
    assert_contains(&get(&board, "/api/presence"), &["Sarine", "Second floor", "Busy", "Free"]);
    assert_eq!(board.deliver(&TestEvent::free()), 401, "the demo's secret is random");
    assert!(board.stop().0.success());
}

#[test]
fn metrics_cover_layer_and_board() {
    let board = Program::start(&["--listen", "127.0.0.1:0"]);
    let workspace = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5".parse().unwrap();
    assert_eq!(board.deliver(&crate::support::program::change(workspace, 1, "Busy")), 200);
    assert_eq!(board.deliver(&crate::support::program::change(workspace, 2, "Free")), 200);
    let wrong_secret = roomz_axum::Secret::new("a wrong secret").unwrap();
    assert_eq!(board.deliver_with(&TestEvent::free(), &wrong_secret), 401);
    assert_contains(
        &get(&board, "/metrics"),
        &[
            "roomz_webhook_handled_total 2\n",
            "roomz_webhook_rejected_total{reason=\"signature-mismatch\"} 1\n",
            "presence_board_late_total 1\n",
        ],
    );
}

/// The number of handled events in a line of an event stream.
fn handled_count(line: &str) -> Option<u64> {
    line.split_once(r#""handled":"#)?.1.split(',').next()?.parse().ok()
}

fn get(board: &Program, path: &str) -> String {
    let mut stream = request(board, path);
    let mut response = String::new();
    std::io::Read::read_to_string(&mut stream, &mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    response
}

/// Opens `/events` and reads up to the snapshot.
fn open_events(board: &Program) -> BufReader<TcpStream> {
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
