//! Interactive use: colours, Ctrl-C.

use std::process::{Command, Stdio};
use std::time::Duration;

use http::StatusCode;

use crate::support::{
    RunOutput, SECRET, TestReceiver, command_with_secret, run_command, run_with_secret, skip,
};

/// Runs the program on a terminal and returns its output. `None` when `script` is not installed.
fn run_on_terminal(arguments: &str, no_color: bool) -> Option<String> {
    let run = format!("{} {arguments}", env!("CARGO_BIN_EXE_roomz"));
    let mut script = Command::new("script");
    script.args(["-qec", &run, "/dev/null"]).env("ROOMZ_WEBHOOK_SECRET", SECRET).env("TERM", "xterm");
    script.env_remove("NO_COLOR").env_remove("CI").stdin(Stdio::null());
    if no_color {
        script.env("NO_COLOR", "1");
    }
    if Command::new("script").arg("--version").output().is_err() {
        skip("output on a terminal", "script is not installed");
        return None;
    }
    Some(run_command(&mut script, b"").stdout)
}

#[test]
fn colours_only_on_terminal_without_no_color() {
    let Some(output) = run_on_terminal("sign /no/such/file", false) else { return };
    assert!(output.contains("\u{1b}[") && output.contains("cannot read the file"), "{output:?}");
    let plain = run_on_terminal("sign /no/such/file", true).unwrap();
    assert!(!plain.contains('\u{1b}') && plain.contains("cannot read the file"), "{plain:?}");
    assert!(!run_with_secret(&["sign", "/no/such/file"]).stderr.contains('\u{1b}'));
    assert!(run_on_terminal("send --help", false).unwrap().contains("\u{1b}["));
}

#[test]
fn interrupted_run_reports_and_exits_130() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let mut program = command_with_secret();
    program.args(["send", &receiver.url, "--count", "1000", "--rate", "5"]);
    let child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while receiver.requests().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = RunOutput::from(child.wait_with_output().unwrap());
    output.assert_fails(130, &["interrupted after", "of 1000 deliveries"]);
    assert_eq!(output.row("accepted"), receiver.requests().len() as u64);
}
