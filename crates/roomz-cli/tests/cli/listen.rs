use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{
    ListenProcess, TestDir, command, command_with_secret, path_text, run, run_with_secret, skip,
};

const EVIL: &str = "Aw\u{1b}[2Jay\r\n\u{202e}\u{2066}\u{9b}31m\u{7}";

#[test]
fn prints_deliveries_and_signature_checks() {
    let listener = ListenProcess::start(&[]);
    let url = listener.url.clone();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    run_with_secret(&["send", &url, "--id", id, "--status", "Busy"]).assert_succeeds();
    let output = run_with_secret(&["send", &url, "--count", "2", "--forged", "0.5"]);
    output.assert_succeeds();
    assert_eq!(output.row("401 signature-mismatch"), 1);
    run_with_secret(&["send", &url.replace("/hook", "/elsewhere")])
        .assert_fails(1, &["1 × 404)", "path of the URL"]);
    let output = listener.stop("-TERM");
    output.assert_succeeds();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].ends_with(" POST /hook verified, answered 200"), "{}", lines[0]);
    assert!(lines[1].contains(id) && lines[1].ends_with(" is Busy"), "{}", lines[1]);
    assert!(lines[2].contains(r#""presenceStatus":"Busy""#), "{}", lines[2]);
    assert_eq!(output.stdout.matches(" verified, answered 200").count(), 3);
    assert_eq!(output.stdout.matches("NOT VERIFIED: the signature does not match the body").count(), 1);
    assert!(output.stdout.contains("POST /elsewhere answered 404"), "{}", output.stdout);
}

#[test]
fn escapes_received_text() {
    let listener = ListenProcess::start(&[]);
    let directory = TestDir::new();
    let body = directory.write("body", format!("\u{feff}{EVIL}\u{0}").as_bytes());
    run_with_secret(&["send", &listener.url, "--status", EVIL, "--type", EVIL]).assert_succeeds();
    run_with_secret(&["send", &listener.url, "--body", &body]).assert_succeeds();
    let output = listener.stop("-INT");
    output.assert_succeeds();
    assert_eq!(output.stdout.lines().count(), 6, "{}", output.stdout);
    assert!(output.stdout.replace('\n', "").chars().all(|c| (' '..='~').contains(&c)), "{:?}", output.stdout);
}

#[test]
fn without_secret_accepts_all_unverified() {
    let listener = ListenProcess::start_command(&mut command(), &[]);
    run_with_secret(&["send", &listener.url]).assert_succeeds();
    let output = listener.stop("-TERM");
    assert_eq!(output.code, 0);
    assert!(output.stdout.contains("not verified (no secret), answered 200"), "{output:?}");
    assert!(output.stderr.contains("no secret: signatures are not verified"), "{output:?}");
}

#[test]
fn answers_with_status_option() {
    let listener = ListenProcess::start(&["--status", "503"]);
    let output = run_with_secret(&["send", &listener.url]);
    output.assert_fails(1, &["1 × 503)"]);
    listener.stop("-TERM").assert_succeeds();
}

#[test]
fn answers_curl_like_a_receiver() {
    let listener = ListenProcess::start(&[]);
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-w", " %{http_code}"])
            .args(arguments)
            .arg(&listener.url)
            .output();
        output.map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Ok(response) = curl(&[]) else {
        return skip("responses to curl", "curl is not installed");
    };
    assert!(response.contains("method-not-allowed") && response.ends_with(" 405"), "{response}");
    assert!(curl(&["-d", "{}"]).unwrap().contains("signature-missing"));
    assert!(curl(&["-d", "{}", "-H", "Roomz-Signature: x"]).unwrap().contains("signature-malformed"));
    assert!(
        curl(&["-d", "{}", "-H", "Roomz-Signature: x", "-H", "Roomz-Signature: y"])
            .unwrap()
            .contains("signature-repeated")
    );
    let directory = TestDir::new();
    let large = directory.write("large", vec![b'x'; 1024 * 1024 + 1]);
    assert!(curl(&["--data-binary", &format!("@{large}")]).unwrap().contains("body-too-large"));
    let output = listener.stop("-TERM");
    assert!(output.stdout.contains("NOT VERIFIED: the signature has 1 characters"), "{}", output.stdout);
}

#[test]
fn json_prints_one_object_per_delivery() {
    // With --json the address is printed to standard error, which `ListenProcess` does not read.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut child = command_with_secret()
        .args(["listen", "--json", "--listen", &address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first_line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut first_line).unwrap();
    assert_eq!(first_line, format!("roomz: listening on http://{address}\n"));
    let url = format!("http://{address}/webhooks/roomz");
    run_with_secret(&["send", &url, "--status", EVIL]).assert_succeeds();
    let directory = TestDir::new();
    run(&["send", &url, "--secret-file", &directory.write("secret", "another")])
        .assert_fails(1, &["401 signature-mismatch"]);
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let stdout = child.wait_with_output().unwrap().stdout;
    let objects: Vec<Value> = stdout
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let verified: Vec<_> = objects.iter().map(|object| object["verified"].as_bool().unwrap()).collect();
    assert_eq!(verified, [true, false]);
    assert!(objects[0]["body"].as_str().unwrap().contains("presenceStatus"));
    assert!(stdout.is_ascii() && !stdout.contains(&0x1b));
}

#[test]
fn appends_after_truncated_line() {
    let directory = TestDir::new();
    let save = directory.write("saved.jsonl", "{\"cut");
    let listener = ListenProcess::start(&["--save", &save]);
    run_with_secret(&["send", &listener.url, "--count", "2"]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    let saved = std::fs::read_to_string(&save).unwrap();
    assert_eq!(saved.lines().count(), 3);
    assert!(saved.ends_with("}\n"));
}

#[test]
#[cfg(unix)]
fn save_file_is_readable_by_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TestDir::new();
    let save = directory.path("saved.jsonl");
    ListenProcess::start(&["--save", &path_text(&save)]).stop("-TERM").assert_succeeds();
    assert_eq!(std::fs::metadata(&save).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn unsaved_delivery_is_not_acknowledged() {
    if !std::path::Path::new("/dev/full").exists() {
        return skip("a full disk", "there is no /dev/full");
    }
    let listener = ListenProcess::start(&["--save", "/dev/full"]);
    run_with_secret(&["send", &listener.url]).assert_fails(1, &["1 × 500)"]);
    let output = listener.stop("-TERM");
    assert!(output.stderr.contains("cannot save a delivery"), "{output:?}");
    assert!(output.stdout.is_empty());
}
