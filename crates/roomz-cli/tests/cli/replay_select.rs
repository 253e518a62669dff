//! `replay` of a part of a file.

use http::StatusCode;
use serde_json::json;

use crate::support::{TestDir, TestReceiver, command, run, run_command};

/// A file with five deliveries and an invalid last line. The second line is empty.
fn saved(directory: &TestDir) -> String {
    let line = |number: usize| {
        json!({
            "received": "", "path": "/", "headers": [{ "name": "x-number", "value": number.to_string() }], "body": "{}",
        })
        .to_string()
    };
    let mut lines: Vec<_> = (1..=5).map(line).collect();
    lines.insert(1, String::new());
    lines.push("not a saved delivery".to_owned());
    directory.write("saved.jsonl", lines.join("\n"))
}

fn numbers(receiver: &TestReceiver) -> Vec<String> {
    let requests = receiver.requests();
    requests.iter().map(|request| request.headers["x-number"].to_str().unwrap().to_owned()).collect()
}

#[test]
fn sends_only_selected_lines() {
    let directory = TestDir::new();
    let file = saved(&directory);
    for (options, expected) in [
        (&["--line", "1"][..], &["1"][..]),
        (&["--line", "6", "--line", "1-3", "--line", "3"], &["1", "2", "5"]),
    ] {
        let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
        run(&[&["replay", &file, &receiver.url], options].concat()).assert_succeeds();
        assert_eq!(numbers(&receiver), expected, "{options:?}");
    }
}

#[test]
fn sends_lines_of_standard_input() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let text = std::fs::read_to_string(saved(&TestDir::new())).unwrap();
    let third = text.lines().nth(3).unwrap();
    run_command(command().args(["replay", "-", &receiver.url]), third.as_bytes()).assert_succeeds();
    assert_eq!(numbers(&receiver), ["3"]);
}

#[test]
fn selection_errors_are_explained() {
    let (directory, receiver) = (TestDir::new(), TestReceiver::responding(|_, _| StatusCode::OK));
    let file = saved(&directory);
    for (options, code, part) in [
        (&["--line", "0"][..], 2, "use the number of a line, from 1, such as 3, or a range such as 3-5"),
        (&["--line", "5-3"], 2, "invalid value '5-3' for '--line"),
        (&["--line", "x"], 2, "invalid value 'x' for '--line"),
        (&["--line", "2"], 1, "no delivery in lines 2-2"),
        (&["--line", "1", "--line", "8-9"], 1, "no delivery in lines 8-9"),
        (&["--line", "7"], 1, "invalid line 7"),
        (&[], 1, "invalid line 7"),
    ] {
        run(&[&["replay", &file, &receiver.url], options].concat()).assert_fails(code, &[part]);
    }
    assert_eq!(receiver.requests().len(), 0);
}
