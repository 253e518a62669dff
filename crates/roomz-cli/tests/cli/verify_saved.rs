//! `verify` with a file that `listen --save` wrote.

use roomz_axum::Secret;
use serde_json::json;

use crate::support::{
    ListenProcess, RunOutput, SECRET, TestDir, command_with_secret, path_text, run, run_command,
    run_with_secret,
};

const ID: &str = "e6ae112e-2af3-4d72-894b-03435d7afde4";

fn event() -> String {
    format!(
        r#"{{"id":"{ID}","type":"desk.moved","timestamp":"2024-05-21T08:22:32.452Z","apiVersion":"1.0","data":{{}}}}"#
    )
}

/// A saved line with these signatures, as a version without the member `verified` wrote it.
fn line(body: &str, signatures: &[&str]) -> String {
    let headers: Vec<_> =
        signatures.iter().map(|value| json!({ "name": "roomz-signature", "value": value })).collect();
    json!({ "received": "", "path": "/", "headers": headers, "body": body }).to_string()
}

fn sign(secret: &str, body: &str) -> String {
    Secret::new(secret).unwrap().sign(body.as_bytes()).to_base64()
}

fn verify(lines: &[String]) -> RunOutput {
    let directory = TestDir::new();
    let file = directory.write("saved.jsonl", lines.join("\n"));
    let output = run_with_secret(&["verify", &file]);
    assert!(!format!("{output:?}").contains(&sign(SECRET, &event())));
    output
}

#[test]
fn verifies_what_listen_saved() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let listener = ListenProcess::start(&["--save", &save]);
    let body = directory.write("body", event());
    run_with_secret(&["send", &listener.url, "--body", &body]).assert_succeeds();
    let good = run_with_secret(&["verify", &save]);
    assert_eq!(
        good.assert_succeeds().stdout,
        format!("line 1, event {ID}: verified\n1 of 1 deliveries verified\n")
    );
    let other = directory.write("secret", format!("{SECRET}\n"));
    run(&["verify", "--secret-file", &other, &save]).assert_fails(1, &["ends with a newline"]);
    run_with_secret(&["send", &listener.url, "--forged", "1"]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    let output = run_with_secret(&["verify", &save]);
    output.assert_fails(1, &["1 of 3 deliveries could not be verified", "each line says why"]);
    assert_eq!(output.stdout.matches(": verified").count(), 2, "{}", output.stdout);
    assert_eq!(output.stdout.matches(": NOT VERIFIED: the signature does not match").count(), 1);
    let from_stdin = run_command(command_with_secret().args(["verify", "-"]), &std::fs::read(&save).unwrap());
    assert_eq!((from_stdin.code, from_stdin.stdout), (1, output.stdout));
}

#[test]
fn explains_each_line() {
    let (body, correct) = (event(), sign(SECRET, &event()));
    let other_case = sign(&SECRET.to_uppercase(), &body);
    let output = verify(&[
        line(&body, &[&correct]),
        line(&format!("{body}\n"), &[&correct]),
        String::new(),
        line(&body, &[&other_case]),
        line(&body, &[]),
        line(&body, &[&correct, &correct]),
        line("not an event", &[&sign(SECRET, "not an event")]),
        "{\"received\":\"canary".to_owned(),
    ]);
    output.assert_fails(1, &["5 of 7 deliveries"]);
    let lines: Vec<_> = output.stdout.lines().collect();
    for (found, (start, part)) in lines.iter().zip([
        ("line 1, event", "verified"),
        ("line 2, event", "NOT VERIFIED: the body has white space around it"),
        ("line 4, event", "NOT VERIFIED: the signer changed the secret to lower case or upper case"),
        ("line 5, event", "NOT VERIFIED: the signature header is missing: a proxy"),
        ("line 6, event", "NOT VERIFIED: there is more than one signature header"),
        ("line 7, not an event", "verified"),
        ("line 8, not a saved delivery", "NOT VERIFIED: not JSON (column 19): the line may be cut"),
        ("2 of 7 deliveries verified", ""),
    ]) {
        assert!(found.starts_with(start) && found.contains(part), "{found}");
    }
    assert_eq!(lines.len(), 8);
    assert!(!output.stdout.contains("canary"));
}

#[test]
fn other_file_needs_signature_option() {
    let directory = TestDir::new();
    let file = directory.write("body.json", event());
    run_with_secret(&["verify", &file]).assert_fails(
        1,
        &["contains no saved deliveries (line 1: missing field `received`", "add --signature"],
    );
    run_with_secret(&["verify", &directory.write("empty", "")]).assert_fails(1, &["contains no deliveries"]);
    run_with_secret(&["verify"]).assert_fails(2, &["<FILE"]);
}
