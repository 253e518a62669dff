//! What is for people only: colours, a progress bar, Ctrl-C.

use std::process::{Command, Stdio};
use std::time::Duration;

use http::StatusCode;

use crate::support::{Ran, Receiver, SECRET, command, finish, with_secret};

/// Runs the program on a terminal, and gives what that shows.
fn on_a_terminal(arguments: &str, no_color: bool) -> Option<String> {
    let run = format!("{} {arguments}", env!("CARGO_BIN_EXE_roomz"));
    let mut script = Command::new("script");
    script.args(["-qec", &run, "/dev/null"]).env("ROOMZ_WEBHOOK_SECRET", SECRET).env("TERM", "xterm");
    script.env_remove("NO_COLOR").env_remove("CI").stdin(Stdio::null());
    if no_color {
        script.env("NO_COLOR", "1");
    }
    if Command::new("script").arg("--version").output().is_err() {
        roomz_tests::left_out("what a terminal shows", "script is not installed");
        return None;
    }
    Some(finish(&mut script, b"").out)
}

#[test]
fn colours_reach_a_terminal_only_and_not_against_no_color() {
    let Some(shown) = on_a_terminal("sign /no/such/file", false) else { return };
    assert!(shown.contains("\u{1b}[") && shown.contains("cannot read the file"), "{shown:?}");
    let plain = on_a_terminal("sign /no/such/file", true).unwrap();
    assert!(!plain.contains('\u{1b}') && plain.contains("cannot read the file"), "{plain:?}");
    assert!(!with_secret(&["sign", "/no/such/file"]).err.contains('\u{1b}'));
    assert!(on_a_terminal("send --help", false).unwrap().contains("\u{1b}["));
}

#[test]
fn long_work_shows_a_bar_on_a_terminal_only() {
    let receiver = Receiver::answering(|_, _| StatusCode::OK);
    let (url, many) = (&receiver.url, ["--count", "2000", "--connections", "4"]);
    let Some(shown) = on_a_terminal(&format!("send {url} {}", many.join(" ")), false) else { return };
    assert!(shown.contains("/2,000") && shown.contains("all as they should"), "{shown:?}");
    let short = on_a_terminal(&format!("send {url}"), false).unwrap();
    assert!(!short.contains("/1 ") && short.contains("all as they should"), "{short:?}");
    with_secret(&[&["send", url.as_str()], &many[..]].concat()).succeeds();
}

#[test]
fn an_interrupted_run_still_reports_and_exits_with_130() {
    let receiver = Receiver::answering(|_, _| StatusCode::OK);
    let mut program = command();
    program.env("ROOMZ_WEBHOOK_SECRET", SECRET).args([
        "send",
        &receiver.url,
        "--count",
        "1000",
        "--rate",
        "5",
    ]);
    let child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while receiver.seen().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    ran.fails(130, &["interrupted after", "of 1000 deliveries"]);
    assert_eq!(ran.row("2xx"), receiver.seen().len() as u64);
}
