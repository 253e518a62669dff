//! `replay` with `--line`, `--workspace` and `--since`.

use http::StatusCode;
use serde_json::json;

use crate::support::{TestDir, TestReceiver, run};

const WORKSPACES: [&str; 2] =
    ["5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5", "0a3c1f6e-5a4b-4a52-8a4e-1d2a8f0c9b17"];

/// A file with one event per minute, of the two workspaces in turn. The second line is empty.
fn saved(directory: &TestDir) -> String {
    let line = |minute: usize| {
        let body = json!({
            "id": format!("e6ae112e-2af3-4d72-894b-{minute:012}"),
            "type": "workspace.presence.changed",
            "timestamp": "2024-05-21T08:00:00Z",
            "apiVersion": "1.0",
            "data": { "workspaceId": WORKSPACES[minute % 2], "presenceStatus": "Busy" },
        });
        json!({
            "received": format!("2024-05-21T08:0{minute}:00.000Z"), "method": "POST", "path": "/",
            "headers": [{ "name": "x-minute", "value": minute.to_string() }], "body": body.to_string(),
        })
        .to_string()
    };
    let mut lines: Vec<_> = (1..=5).map(line).collect();
    lines.insert(1, String::new());
    lines.push("not a saved delivery".to_owned());
    directory.write("saved.jsonl", lines.join("\n"))
}

/// The minutes of the deliveries that `replay` sends with these options.
fn sent(options: &[&str]) -> Vec<String> {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let directory = TestDir::new();
    let output = run(&[&["replay", &saved(&directory), &receiver.url], options].concat());
    output.assert_succeeds();
    let requests = receiver.requests();
    assert_eq!(output.row("events"), requests.len() as u64);
    requests.iter().map(|request| request.headers["x-minute"].to_str().unwrap().to_owned()).collect()
}

#[test]
fn sends_only_selected_deliveries() {
    for (options, minutes) in [
        (&["--line", "1"][..], &["1"][..]),
        (&["--line", "6", "--line", "1-3", "--line", "3"], &["1", "2", "5"]),
        (&["--line", "1-6", "--workspace", WORKSPACES[1]], &["1", "3", "5"]),
        (
            &["--line", "1-6", "--workspace", WORKSPACES[1], "--workspace", WORKSPACES[0]],
            &["1", "2", "3", "4", "5"],
        ),
        (&["--line", "1-6", "--since", "2024-05-21T08:03:00Z"], &["3", "4", "5"]),
        (
            &["--line", "1-6", "--since", "2024-05-21T10:03:00.001+02:00", "--workspace", WORKSPACES[0]],
            &["4"],
        ),
    ] {
        assert_eq!(sent(options), minutes, "{options:?}");
    }
}

#[test]
fn selection_errors_are_explained() {
    let (directory, receiver) = (TestDir::new(), TestReceiver::responding(|_, _| StatusCode::OK));
    let file = saved(&directory);
    let other = "e6ae112e-2af3-4d72-894b-03435d7afde4";
    for (options, code, part) in [
        (&["--line", "0"][..], 2, "use the number of a line, from 1, such as 3, or a range such as 3-5"),
        (&["--line", "5-3"], 2, "invalid value \"5-3\" for --line"),
        (&["--line", "x"], 2, "invalid value \"x\" for --line"),
        (&["--since", "yesterday"], 2, "use an RFC 3339 time, such as 2024-"),
        (&["--workspace", "x"], 2, "for --workspace: not a UUID"),
        (&["--line", "2"], 1, "no delivery in line 2"),
        (&["--line", "1", "--line", "8-9"], 1, "no delivery in lines 8-9"),
        (&["--line", "7"], 1, "invalid line 7"),
        (&["--workspace", WORKSPACES[0]], 1, "invalid line 7"),
        (
            &["--line", "1-6", "--workspace", other],
            1,
            "matches; correct or remove --line, --workspace or --since",
        ),
    ] {
        run(&[&["replay", &file, &receiver.url], options].concat()).assert_fails(code, &[part]);
    }
    let without_time = directory
        .write("without-time", r#"{"received":"","method":"POST","path":"/","headers":[],"body":""}"#);
    run(&["replay", &without_time, &receiver.url, "--since", "2024-05-21T08:00:00Z"])
        .assert_fails(1, &["member \"received\" in line 1", "replay without --since"]);
    assert_eq!(receiver.requests().len(), 0);
}
