use std::fs;

use http::StatusCode;
use roomz_axum::Secret;
use serde_json::Value;

use crate::support::{
    ListenProcess, SECRET, TestDir, TestReceiver, command, path_text, run, run_command, run_with_secret,
};

#[test]
fn replays_saved_bytes_without_secret() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let bodies: [&[u8]; 5] =
        [b"", b"{}\r\n", b"\xff\x00\xfe", "{\"a\":\"\u{202e}\u{1b}[2J é\"}".as_bytes(), b" \n\n"];
    let listener = ListenProcess::start(&["--save", &save]);
    for (number, body) in bodies.iter().enumerate() {
        let file = directory.write(&format!("body{number}"), body);
        run_with_secret(&["send", &listener.url, "--body", &file]).assert_succeeds();
    }
    listener.stop("-TERM").assert_succeeds();

    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let output = run(&["replay", &save, &receiver.url]);
    output.assert_succeeds();
    assert_eq!((output.row("events"), output.row("sent"), output.row("accepted")), (5, 5, 5));
    let secret = Secret::new(SECRET).unwrap();
    let requests = receiver.requests();
    assert_eq!(requests.iter().map(|request| &request.body[..]).collect::<Vec<_>>(), bodies);
    for request in &requests {
        assert_eq!(request.signature(), secret.sign(&request.body).to_base64());
        assert_eq!(request.headers["content-type"], "application/json");
    }
    for (line, body) in fs::read_to_string(&save).unwrap().lines().zip(bodies) {
        let saved: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            saved.get("body").is_some(),
            std::str::from_utf8(body).is_ok(),
            "UTF-8 is saved as text, other bytes as base64"
        );
        assert!(saved["received"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn replayed_events_are_duplicates() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let listener = ListenProcess::start(&["--save", &save]);
    run_with_secret(&["send", &listener.url, "--count", "20", "--connections", "4"]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    let receiver = TestReceiver::with_layer();
    let first = run(&["replay", &save, &receiver.url, "--connections", "4"]);
    assert_eq!((first.assert_succeeds().row("accepted"), first.row("skipped")), (20, 0));
    let again = run(&["replay", &save, &receiver.url, "--json"]).assert_succeeds().json();
    assert_eq!((again["accepted"].as_u64(), again["skipped"]["duplicate"].as_u64()), (Some(20), Some(20)));
    assert_eq!(receiver.handled().len(), 20);
}

#[test]
fn skips_deliveries_with_wrong_signature() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let listener = ListenProcess::start(&["--save", &save]);
    run_with_secret(&["send", &listener.url, "--count", "2", "--forged", "0.5"]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    let receiver = TestReceiver::with_layer();
    let output = run(&["replay", &save, &receiver.url]);
    assert_eq!((output.assert_succeeds().row("sent"), output.row("unverified_not_sent")), (2, 1));
    let output = run(&["replay", &save, &receiver.url, "--include-unverified", "--json"]);
    output.assert_fails(1, &["1 of 3 deliveries", "1 × 401 signature-mismatch"]);
    assert_eq!(output.json()["unverified_not_sent"], 0);

    // A new signature would make a forged delivery valid, so it needs the option, too.
    let secret = directory.write("secret", SECRET);
    let re_sign = ["replay", &save, &receiver.url, "--re-sign", "--secret-file", &secret];
    assert_eq!(run(&re_sign).assert_succeeds().row("unverified_not_sent"), 1);
    assert_eq!(receiver.handled().len(), 2);
    run(&[&re_sign[..], &["--include-unverified"]].concat()).assert_succeeds();
    assert_eq!(receiver.handled().len(), 3);
}

#[test]
fn re_sign_replaces_saved_signatures() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let other = directory.write("other", "another secret");
    let listener = ListenProcess::start_command(&mut command(), &["--save", &save]);
    run(&["send", &listener.url, "--secret-file", &other, "--count", "2"]).assert_succeeds();
    listener.stop("-TERM");
    // Saved without a secret, the deliveries may have a correct signature: they are sent.
    let receiver = TestReceiver::with_layer();
    run(&["replay", &save, &receiver.url]).assert_fails(1, &["2 of 2 deliveries", "2 × 401"]);
    run_with_secret(&["replay", &save, &receiver.url, "--re-sign"]).assert_succeeds();
    assert_eq!(receiver.handled().len(), 2);
}

#[test]
fn file_with_only_forged_deliveries_fails() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let listener = ListenProcess::start(&["--save", &save]);
    let other = directory.write("other", "another secret");
    run(&["send", &listener.url, "--secret-file", &other]).assert_fails(1, &["401"]);
    listener.stop("-TERM").assert_succeeds();
    let saved: Value = serde_json::from_slice(&fs::read(&save).unwrap()).unwrap();
    assert_eq!(saved["verified"], false);
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    run(&["replay", &save, &receiver.url])
        .assert_fails(1, &["no delivery of", "correct signature", "(1 skipped)", "--include-unverified"]);
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn ignores_saved_connection_headers() {
    let directory = TestDir::new();
    let line = |name: &str, value: &str| {
        let headers =
            serde_json::json!([{ "name": name, "value": value }, { "name": "x-mine", "value": "kept" }]);
        serde_json::json!({ "received": "", "path": "/", "headers": headers, "body": "{}" }).to_string()
    };
    let headers = [
        ("content-length", "999"),
        ("transfer-encoding", "chunked"),
        ("host", "elsewhere"),
        ("connection", "close"),
    ];
    let lines: Vec<_> = headers.iter().map(|(name, value)| line(name, value)).collect();
    let saved = directory.write("saved", lines.join("\n"));
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    run(&["replay", &saved, &receiver.url, "--timeout", "5"]).assert_succeeds();
    assert_eq!(receiver.requests().len(), 4);
    for request in receiver.requests() {
        assert_eq!((&request.body[..], &request.headers["x-mine"]), (&b"{}"[..], &"kept".parse().unwrap()));
        assert_eq!(request.headers["content-length"], "2");
        assert!(request.headers["host"] != "elsewhere" && !request.headers.contains_key("transfer-encoding"));
    }
}

#[test]
fn sends_lines_of_standard_input() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let line = serde_json::json!({ "received": "", "path": "/", "headers": [{ "name": "x-number", "value": "3" }], "body": "{}" });
    run_command(command().args(["replay", "-", &receiver.url]), line.to_string().as_bytes())
        .assert_succeeds();
    assert_eq!(receiver.requests()[0].headers["x-number"], "3");
}
