use std::process::Command;

use serde_json::Value;

use crate::support::{Files, Listening, SECRET, command, roomz, text, with_secret};

const EVIL: &str = "Aw\u{1b}[2Jay\r\n\u{202e}\u{2066}\u{9b}31m\u{7}";

#[test]
fn prints_what_arrives_and_whether_it_is_verified() {
    let listening = Listening::start(&[]);
    let url = listening.url.clone();
    let id = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    with_secret(&["send", &url, "--id", id, "--status", "Busy"]).succeeds();
    let ran = with_secret(&["send", &url, "--count", "2", "--forged", "0.5"]);
    ran.succeeds();
    assert_eq!(ran.row("401 signature-mismatch"), 1);
    with_secret(&["send", &url.replace("/hook", "/elsewhere")])
        .fails(1, &["404 not-found", "path of the URL"]);
    let printed = listening.stop("-TERM");
    printed.succeeds();
    let lines: Vec<_> = printed.out.lines().collect();
    assert!(lines[0].ends_with(" POST /hook verified, answered 200"), "{}", lines[0]);
    assert!(lines[1].contains(id) && lines[1].ends_with(" is Busy"), "{}", lines[1]);
    assert!(lines[2].contains(r#""presenceStatus":"Busy""#), "{}", lines[2]);
    assert_eq!(printed.out.matches(" verified, answered 200").count(), 3);
    assert_eq!(printed.out.matches("NOT VERIFIED: the signature is not that of the body").count(), 1);
    assert!(printed.out.contains("POST /elsewhere answered 404"), "{}", printed.out);
}

#[test]
fn nothing_that_arrives_controls_the_terminal() {
    let listening = Listening::start(&[]);
    let files = Files::new();
    let body = files.with("body", format!("\u{feff}{EVIL}\u{0}").as_bytes());
    with_secret(&["send", &listening.url, "--status", EVIL, "--type", EVIL]).succeeds();
    with_secret(&["send", &listening.url, "--body", &body]).succeeds();
    let listened = listening.stop("-INT");
    listened.succeeds();
    assert_eq!(listened.out.lines().count(), 6, "{}", listened.out);
    assert!(listened.out.replace('\n', "").chars().all(|c| (' '..='~').contains(&c)), "{:?}", listened.out);
}

#[test]
fn without_a_secret_everything_is_taken_and_said_to_be_unverified() {
    let listening = Listening::run(&mut command(), &[]);
    with_secret(&["send", &listening.url]).succeeds();
    let listened = listening.stop("-TERM");
    assert_eq!(listened.code, 0);
    assert!(listened.out.contains("not verified (no secret), answered 200"), "{listened:?}");
    assert!(listened.err.contains("no secret: signatures are not verified"), "{listened:?}");
}

#[test]
fn answers_with_the_status_that_was_asked_for() {
    let listening = Listening::start(&["--status", "503"]);
    let ran = with_secret(&["send", &listening.url]);
    ran.fails(1, &["1 × 503 as-asked"]);
    listening.stop("-TERM").succeeds();
}

#[test]
fn curl_gets_the_answers_of_a_receiver() {
    let listening = Listening::start(&[]);
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl")
            .args(["-s", "-w", " %{http_code}"])
            .args(arguments)
            .arg(&listening.url)
            .output();
        output.map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let Ok(got) = curl(&[]) else {
        return roomz_tests::left_out("answers to curl", "curl is not installed");
    };
    assert!(got.contains("method-not-allowed") && got.ends_with(" 405"), "{got}");
    assert!(curl(&["-d", "{}"]).unwrap().contains("signature-missing"));
    assert!(curl(&["-d", "{}", "-H", "Roomz-Signature: x"]).unwrap().contains("signature-malformed"));
    assert!(
        curl(&["-d", "{}", "-H", "Roomz-Signature: x", "-H", "Roomz-Signature: y"])
            .unwrap()
            .contains("signature-repeated")
    );
    let files = Files::new();
    let large = files.with("large", vec![b'x'; 1024 * 1024 + 1]);
    assert!(curl(&["--data-binary", &format!("@{large}")]).unwrap().contains("body-too-large"));
    let listened = listening.stop("-TERM");
    assert!(listened.out.contains("NOT VERIFIED: the signature has 1 characters"), "{}", listened.out);
}

#[test]
fn json_is_one_object_for_each_delivery_on_standard_output() {
    // The address is told on standard error then, so the port must be known.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut child = command()
        .env("ROOMZ_WEBHOOK_SECRET", SECRET)
        .args(["listen", "--json", "--listen", &address])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut hello = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut hello)
        .unwrap();
    assert_eq!(hello, format!("roomz: listening on http://{address}\n"));
    let url = format!("http://{address}/webhooks/roomz");
    with_secret(&["send", &url, "--status", EVIL]).succeeds();
    let files = Files::new();
    roomz(&["send", &url, "--secret-file", &files.with("secret", "another")])
        .fails(1, &["401 signature-mismatch"]);
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    let objects: Vec<Value> = out
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let verified: Vec<_> = objects.iter().map(|object| object["verified"].as_bool().unwrap()).collect();
    assert_eq!(verified, [true, false]);
    assert!(objects[0]["body"].as_str().unwrap().contains("presenceStatus"));
    assert!(out.is_ascii() && !out.contains(&0x1b));
}

#[test]
fn a_saved_file_is_appended_to_even_after_a_line_that_was_cut_off() {
    let files = Files::new();
    let save = files.with("saved.jsonl", "{\"cut");
    let listening = Listening::start(&["--save", &save]);
    with_secret(&["send", &listening.url, "--count", "2"]).succeeds();
    listening.stop("-TERM").succeeds();
    let saved = std::fs::read_to_string(&save).unwrap();
    assert_eq!(saved.lines().count(), 3);
    assert!(saved.ends_with("}\n"));
}

#[test]
#[cfg(unix)]
fn a_saved_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = Files::new();
    let save = files.path("saved.jsonl");
    Listening::start(&["--save", &text(&save)]).stop("-TERM").succeeds();
    assert_eq!(std::fs::metadata(&save).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_delivery_that_cannot_be_saved_is_not_acknowledged() {
    if !std::path::Path::new("/dev/full").exists() {
        return roomz_tests::left_out("a full disk", "there is no /dev/full");
    }
    let listening = Listening::start(&["--save", "/dev/full"]);
    with_secret(&["send", &listening.url]).fails(1, &["500 not-saved"]);
    let listened = listening.stop("-TERM");
    assert!(listened.err.contains("cannot save a delivery"), "{listened:?}");
    assert!(listened.out.is_empty());
}
