use std::fs;

use http::StatusCode;
use roomz_axum::Secret;
use serde_json::Value;

use crate::support::{Files, Listening, Receiver, SECRET, roomz, text, with_secret};

#[test]
fn what_was_saved_arrives_again_byte_for_byte_without_a_secret() {
    let files = Files::new();
    let save = text(&files.path("saved.jsonl"));
    let bodies: [&[u8]; 5] =
        [b"", b"{}\r\n", b"\xff\x00\xfe", "{\"a\":\"\u{202e}\u{1b}[2J é\"}".as_bytes(), b" \n\n"];
    let listening = Listening::start(&["--save", &save]);
    for (number, body) in bodies.iter().enumerate() {
        let file = files.with(&format!("body{number}"), body);
        with_secret(&["send", &listening.url, "--body", &file]).succeeds();
    }
    listening.stop("-TERM").succeeds();

    let receiver = Receiver::answering(|_, _| StatusCode::OK);
    let ran = roomz(&["replay", &save, &receiver.url]);
    ran.succeeds();
    assert_eq!((ran.row("events"), ran.row("sent"), ran.row("2xx")), (5, 5, 5));
    let secret = Secret::new(SECRET).unwrap();
    let seen = receiver.seen();
    assert_eq!(seen.iter().map(|seen| &seen.body[..]).collect::<Vec<_>>(), bodies);
    for one in &seen {
        assert_eq!(one.signature(), secret.sign(&one.body).to_base64());
        assert_eq!(one.headers["content-type"], "application/json");
    }
    for (line, body) in fs::read_to_string(&save).unwrap().lines().zip(bodies) {
        let saved: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            saved.get("body").is_some(),
            std::str::from_utf8(body).is_ok(),
            "text when it is UTF-8, else base64"
        );
        assert!(saved["received"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn a_real_receiver_recognises_what_is_replayed() {
    let files = Files::new();
    let save = text(&files.path("saved.jsonl"));
    let listening = Listening::start(&["--save", &save]);
    with_secret(&["send", &listening.url, "--count", "20", "--connections", "4"]).succeeds();
    listening.stop("-TERM").succeeds();
    let receiver = Receiver::real();
    let first = roomz(&["replay", &save, &receiver.url, "--connections", "4"]);
    assert_eq!((first.succeeds().row("2xx"), first.row("duplicates recognised")), (20, 0));
    let again = roomz(&["replay", &save, &receiver.url, "--json"]).succeeds().json();
    assert_eq!((again["accepted"].as_u64(), again["duplicates_recognised"].as_u64()), (Some(20), Some(20)));
    assert_eq!(receiver.handled().len(), 20);
}

#[test]
fn a_forged_delivery_stays_forged_unless_it_is_signed_anew() {
    let files = Files::new();
    let save = text(&files.path("saved.jsonl"));
    let listening = Listening::start(&["--save", &save]);
    with_secret(&["send", &listening.url, "--count", "2", "--forged", "0.5"]).succeeds();
    listening.stop("-TERM").succeeds();
    let receiver = Receiver::real();
    let ran = roomz(&["replay", &save, &receiver.url]);
    ran.fails(1, &["1 of 3 deliveries", "1 × 401 signature-mismatch"]);
    let secret = files.with("secret", SECRET);
    roomz(&["replay", &save, &receiver.url, "--resign", "--secret-file", &secret]).succeeds();
    assert_eq!(receiver.handled().len(), 3);
}

#[test]
fn saved_headers_cannot_spoil_the_request() {
    let files = Files::new();
    let line = |name: &str, value: &str| {
        let headers =
            serde_json::json!([{ "name": name, "value": value }, { "name": "x-mine", "value": "kept" }]);
        serde_json::json!({ "received": "", "method": "POST", "path": "/", "headers": headers, "body": "{}" })
            .to_string()
    };
    let headers = [
        ("content-length", "999"),
        ("transfer-encoding", "chunked"),
        ("host", "elsewhere"),
        ("connection", "close"),
    ];
    let lines: Vec<_> = headers.iter().map(|(name, value)| line(name, value)).collect();
    let saved = files.with("saved", lines.join("\n"));
    let receiver = Receiver::answering(|_, _| StatusCode::OK);
    roomz(&["replay", &saved, &receiver.url, "--timeout", "5"]).succeeds();
    assert_eq!(receiver.seen().len(), 4);
    for seen in receiver.seen() {
        assert_eq!((&seen.body[..], &seen.headers["x-mine"]), (&b"{}"[..], &"kept".parse().unwrap()));
        assert_eq!(seen.headers["content-length"], "2");
        assert!(seen.headers["host"] != "elsewhere" && !seen.headers.contains_key("transfer-encoding"));
    }
}
