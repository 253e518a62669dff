//! Files that Windows editors wrote.

use http::StatusCode;

use crate::support::{
    ListenProcess, RunOutput, TestDir, TestReceiver, command_with_secret, path_text, run_command,
    run_with_secret,
};

/// Two deliveries, as `listen --save` wrote them.
fn saved_lines(directory: &TestDir) -> String {
    let save = path_text(&directory.path("saved.jsonl"));
    let listener = ListenProcess::start(&["--save", &save]);
    run_with_secret(&["send", &listener.url, "--count", "2"]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    std::fs::read_to_string(&save).unwrap()
}

/// Joining files puts a mark inside the new file.
#[test]
fn saved_deliveries_are_read_without_mark() {
    let directory = TestDir::new();
    let lines = saved_lines(&directory);
    let marked = directory.write("marked.jsonl", format!("\u{feff}{lines}\u{feff}{lines}"));
    let verified = run_with_secret(&["verify", &marked]);
    assert!(verified.assert_succeeds().stdout.ends_with("4 of 4 deliveries verified\n"), "{verified:?}");
    let receiver = TestReceiver::with_layer();
    assert_eq!(run_with_secret(&["replay", &marked, &receiver.url]).assert_succeeds().row("accepted"), 4);
}

fn has_notice(output: &RunOutput, notice: &str) -> bool {
    output.code == 0 && output.stderr.lines().count() == 1 && output.stderr.contains(notice)
}

#[test]
fn bodies_are_read_without_mark() {
    let directory = TestDir::new();
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let (plain, marked) = (directory.write("plain", "{}"), directory.write("marked", "\u{feff}{}"));
    let sent = run_with_secret(&["send", &receiver.url, "--body", &marked]);
    assert!(has_notice(&sent, "begins with a byte order mark, which is left out"), "{sent:?}");
    assert_eq!(receiver.requests()[0].body, "{}");
    let signed = run_with_secret(&["sign", &marked]);
    assert!(has_notice(&signed, "begins with a byte order mark, which is left out"), "{signed:?}");
    assert_eq!(signed.stdout, run_with_secret(&["sign", &plain]).assert_succeeds().stdout);
    let from_stdin = run_command(command_with_secret().arg("sign"), "\u{feff}{}".as_bytes());
    assert_eq!(from_stdin.stdout, signed.stdout);
}
