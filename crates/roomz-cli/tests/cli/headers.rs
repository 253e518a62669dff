//! `--header` of `send` and `replay`.

use http::StatusCode;

use crate::support::{ListenProcess, TestDir, TestReceiver, path_text, run, run_with_secret};

#[test]
fn headers_are_added_or_replaced() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let listener = ListenProcess::start(&["--save", &save]);
    run_with_secret(&["send", &listener.url]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let options = [
        "--header",
        "X-Environment: test",
        "--header",
        "user-agent: mine",
        "--header",
        "Host: roomz.example",
        "--header",
        "Content-Type:text/plain",
        "--header",
        "X-Two: 1",
        "--header",
        "X-Two: 2:3",
    ];
    run_with_secret(&[&["send", &receiver.url][..], &options].concat()).assert_succeeds();
    run(&[&["replay", &save, &receiver.url][..], &options].concat()).assert_succeeds();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    for headers in requests.iter().map(|request| &request.headers) {
        for (name, value) in [
            ("x-environment", "test"),
            ("user-agent", "mine"),
            ("host", "roomz.example"),
            ("content-type", "text/plain"),
        ] {
            assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value]);
        }
        assert_eq!(headers.get_all("x-two").iter().collect::<Vec<_>>(), ["1", "2:3"]);
        assert_eq!(headers["roomz-signature"].len(), 88);
    }
}

#[test]
fn invalid_headers_are_explained_without_value() {
    for (header, part) in [
        ("Bearer canary", "there is no colon between the name and the value"),
        ("X Y: canary", "the name \"X Y\" may contain only letters"),
        (": canary", "the name \"\" may contain only letters"),
        ("X-Line: canary\nX: y", "the value of X-Line contains a line end"),
        ("Roomz-Signature: canary", "Roomz-Signature cannot be set, because roomz sets it"),
        ("Content-Length: 7", "Content-Length cannot be set, because roomz sets it"),
        ("transfer-encoding: chunked", "transfer-encoding cannot be set"),
        ("Connection: close", "Connection cannot be set"),
    ] {
        for command in
            [&["send", "http://127.0.0.1:1/"][..], &["replay", "/no/such/file", "http://127.0.0.1:1/"]]
        {
            let output = run_with_secret(&[command, &["--header", header]].concat());
            output.assert_fails(2, &["invalid --header: ", part, "example: --header 'X-Environment: test'"]);
            assert!(!output.stderr.contains("canary"), "{output:?}");
        }
    }
}
