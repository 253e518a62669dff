use std::process::Command;

use crate::support::{ListenProcess, TestDir, TestReceiver, command, path_text, run_with_secret, skip};

const EVIL: &str = "Aw\u{1b}[2Jay\r\n\u{202e}\u{2066}\u{9b}31m\u{7}";

#[test]
fn prints_deliveries_and_signature_checks() {
    let listener = ListenProcess::start(&[]);
    let url = listener.url.clone();
    run_with_secret(&["send", &url, "--status", "Busy"]).assert_succeeds();
    let output = run_with_secret(&["send", &url, "--count", "2", "--forged", "0.5"]);
    output.assert_succeeds();
    assert_eq!(output.row("401 signature-mismatch"), 1);
    let output = listener.stop("-TERM");
    output.assert_succeeds();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].ends_with(" POST /hook verified, answered 200"), "{}", lines[0]);
    assert!(lines[1].starts_with("  event ") && lines[1].ends_with(" is Busy"), "{}", lines[1]);
    assert!(lines[2].contains(r#""presenceStatus":"Busy""#), "{}", lines[2]);
    assert_eq!(output.stdout.matches(" verified, answered 200").count(), 3);
    assert_eq!(output.stdout.matches("NOT VERIFIED: the signature does not match the body").count(), 1);
}

/// A sender that is set up with another path is seen, not rejected.
#[test]
fn records_every_path() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let receiver = TestReceiver::with_layer();
    let listener = ListenProcess::start(&["--save", &save, "--forward", &receiver.url]);
    let paths = ["/", "/hook", "/else/where?a=b"];
    for path in paths {
        run_with_secret(&["send", &listener.url.replace("/hook", path)]).assert_succeeds();
    }
    let output = listener.stop("-TERM");
    let saved = std::fs::read_to_string(&save).unwrap();
    for path in paths {
        assert!(output.stdout.contains(&format!(" POST {path} verified, ")), "{}", output.stdout);
        assert!(saved.contains(&format!(r#""path":"{path}""#)), "{saved}");
    }
    assert_eq!(receiver.handled().len(), 3);
}

/// The examples of this kit use port 3000, and so do receivers that were copied from them.
#[test]
fn default_port_is_not_that_of_receivers() {
    let help = crate::support::run(&["listen", "--help"]);
    assert!(help.assert_succeeds().stdout.contains("127.0.0.1:3009"), "{}", help.stdout);
}

#[test]
fn escapes_received_text() {
    let listener = ListenProcess::start(&[]);
    let directory = TestDir::new();
    let body = directory.write("body", format!("{EVIL}\u{feff}\u{0}").as_bytes());
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
    let Ok(response) = curl(&["-o", "/dev/null"]) else {
        return skip("responses to curl", "curl is not installed");
    };
    assert_eq!(response, " 405");
    assert!(curl(&["-d", "{}"]).unwrap().contains("signature-missing"));
    assert!(curl(&["-d", "{}", "-H", "Roomz-Signature: x"]).unwrap().contains("signature-malformed"));
    assert!(
        curl(&["-d", "{}", "-H", "Roomz-Signature: x", "-H", "Roomz-Signature: y"])
            .unwrap()
            .contains("signature-repeated")
    );
    let directory = TestDir::new();
    let large = directory.write("large", vec![b'x'; 1024 * 1024 + 1]);
    assert!(curl(&["--data-binary", &format!("@{large}")]).unwrap().ends_with(" 413"));
    let output = listener.stop("-TERM");
    assert!(output.stdout.contains("NOT VERIFIED: the signature is not 88 characters"), "{}", output.stdout);
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

/// A command that cannot make a file longer than 1 KiB, as on a full disk.
#[cfg(unix)]
fn on_full_disk(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\" {script}")]);
    command.arg(env!("CARGO_BIN_EXE_roomz")).env("ROOMZ_WEBHOOK_SECRET", crate::support::SECRET);
    command
}

#[test]
#[cfg(unix)]
fn full_disk_leaves_no_part_of_a_line() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let (small, large) = (directory.write("small", "{}"), directory.write("large", [b'1'; 2_000]));
    let listener = ListenProcess::start_command(&mut on_full_disk(""), &["--save", &save]);
    let send = |body: &str| run_with_secret(&["send", &listener.url, "--body", body]);
    send(&small).assert_succeeds();
    send(&large).assert_fails(1, &["1 × 500)"]);
    send(&small).assert_succeeds();
    listener.stop("-TERM");
    let verified = run_with_secret(&["verify", &save]);
    assert!(verified.assert_succeeds().stdout.ends_with("\n2 of 2 deliveries verified\n"), "{verified:?}");
}

#[test]
#[cfg(unix)]
fn full_standard_output_loses_no_delivery() {
    let directory = TestDir::new();
    let (printed, body) = (directory.path("printed"), directory.write("body", [b'1'; 2_000]));
    let listener =
        ListenProcess::start_command(&mut on_full_disk(&format!(">> '{}'", printed.display())), &[]);
    let url = loop {
        let line = std::fs::read_to_string(&printed).unwrap_or_default();
        match line.split_once(" (every path)\n") {
            Some((start, _)) => break start.replace("listening on ", ""),
            None => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    for _ in 0..2 {
        run_with_secret(&["send", &url, "--body", &body]).assert_succeeds();
    }
    let output = listener.stop("-TERM");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("cannot print a delivery: File too large"), "{output:?}");
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
