//! Each error is one line that names the problem and the fix. The exit code is 2 for the command line, or
//! else 1.

use std::net::TcpListener;

use crate::support::{SECRET, TestDir, TestReceiver, command, path_text, run, run_command, run_with_secret};

const URL: &str = "http://127.0.0.1:1/hook";

#[test]
fn rejects_invalid_command_lines() {
    for (arguments, part) in [
        (
            &["send", URL, "--cuont", "3"][..],
            "unexpected argument '--cuont' found; tip: a similar argument exists: '--count'",
        ),
        (&["snd", URL], "unrecognized subcommand 'snd'; tip: a similar subcommand exists: 'send'"),
        (&["send"], "<URL>"),
        (&["verify"], "<FILE"),
        (&["replay", "file"], "<URL>"),
        (
            &["send", URL, "--count", "0"],
            "invalid value '0' for '--count <NUMBER>': use a whole number from 1 to",
        ),
        (&["send", URL, "--count", "-1"], "invalid value '-1' for '--count <NUMBER>'"),
        (&["send", URL, "--count", "99999999999999999999999"], "use a whole number from 1 to 1000000000000"),
        (
            &["send", URL, "--connections", "0"],
            "for '--connections <NUMBER>': use a whole number from 1 to 60000",
        ),
        (&["send", URL, "--retry=x"], "for '--retry[=<TIMES>]': use a whole number from 0 to 1000000"),
        (&["send", URL, "--retry", "3"], "unexpected argument '3' found"),
        (&["send", URL, "--duplicates", "1.1"], "a number from 0 to 1, such as 0.2"),
        (&["send", URL, "--forged", "NaN"], "a number from 0 to 1"),
        (&["send", URL, "--rate", "0"], "a number above 0"),
        (&["send", URL, "--timeout", "0"], "a number of seconds above 0"),
        (&["send", URL, "--workspace", "x"], "for '--workspace <UUID>': not a UUID"),
        (
            &["send", URL, "--timestamp", "now"],
            "for '--timestamp <RFC3339>': use an RFC 3339 time, such as 2024-",
        ),
        (&["send", URL, "--body", "f", "--status", "Busy"], "cannot be used with"),
        (&["send", URL, "--body", "f", "--count", "2"], "cannot be used with"),
        (
            &["sign", "--secret", "canary"],
            "unexpected argument '--secret' found; tip: a similar argument exists: '--secret-file'",
        ),
        (&["listen", "--status", "99"], "from 200 to 599"),
        (&["listen", "--status", "100"], "from 200 to 599"),
        (&["replay", "file", URL, "--secret-file", "a"], "--re-sign"),
        (&["completions", "cmd"], "[possible values: bash"),
        (&["inbox", "list", "--state", "lost"], "[possible values: waiting, running, done, dead]"),
        (&["inbox", "list", "--limit", "0"], "for '--limit <NUMBER>': use a whole number from 1 to 100000"),
        (&["inbox", "list", "--database", "mysql://h/d"], "unknown scheme \"mysql\"; use postgres://"),
        (&["inbox", "list", "--database", "postgres://h:x/d"], "invalid port number"),
        (&["inbox", "show"], "<ID>"),
        (&["inbox", "show", "x"], "invalid value 'x' for '<ID>': not a UUID"),
        (&["inbox", "retry"], "<ID>"),
        (&["inbox", "retry", "abc"], "invalid value 'abc' for '[ID]...': not a UUID"),
        (&["inbox", "discard", "--all", "e6ae112e-2af3-4d72-894b-03435d7afde4"], "cannot be used with"),
    ] {
        let output = run_with_secret(arguments);
        output.assert_fails(2, &[part]);
        for foreign in ["found in string", "target type", "is not in", "feature `"] {
            assert!(!output.stderr.contains(foreign), "{foreign}: {output:?}");
        }
    }
}

#[test]
fn missing_command_prints_help() {
    for (arguments, command) in [(&[][..], "completions"), (&["inbox"], "discard")] {
        let output = run(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""));
        assert!(output.stderr.contains(&format!("\n  {command} ")), "{output:?}");
    }
}

#[test]
fn rejects_invalid_urls() {
    for url in [
        "",
        "localhost:3000",
        "ftp://h/",
        "http://",
        "http://h:x/",
        "http://a b",
        "http://\u{1b}[2J/",
        "http://u:canary@h/",
    ] {
        for arguments in [&["send", url][..], &["replay", "/no/such/file", url]] {
            let output = run_with_secret(arguments);
            output.assert_fails(2, &["invalid URL", "example: http://127.0.0.1:3000/webhooks/roomz"]);
            assert!(!output.stderr.contains('\u{1b}') && !output.stderr.contains("canary"), "{output:?}");
        }
    }
}

#[test]
fn reports_unreadable_files() {
    let directory = TestDir::new();
    let (missing, folder) = (path_text(&directory.path("none")), path_text(&directory.path(".")));
    for file in [&missing, &folder] {
        for arguments in [
            &["sign", file][..],
            &["verify", "--signature", "x", file],
            &["send", URL, "--body", file],
            &["replay", file, URL],
        ] {
            run_with_secret(arguments)
                .assert_fails(1, &["cannot read the file", file, "check that it exists"]);
        }
        run(&["sign", "--secret-file", file])
            .assert_fails(1, &["the secret file", "cannot be read", "(os error"]);
    }
    run_with_secret(&[
        "listen",
        "--listen",
        "127.0.0.1:0",
        "--save",
        &path_text(&directory.path("none/file")),
    ])
    .assert_fails(1, &["cannot write the file", "directory exists"]);
    // Control characters in a file name are escaped.
    run_with_secret(&["sign", "/no/\u{1b}[2J\nroomz: fine"]).assert_fails(1, &["\\u{1b}[2J"]);
}

#[test]
fn rejects_invalid_secrets_without_printing_them() {
    let directory = TestDir::new();
    for (secret, part) in [
        ("canary\n", "ends with a newline"),
        (" canary", "white space"),
        ("", "is empty"),
        ("\n", "only white space"),
        ("ca\0nary", "NUL"),
    ] {
        let file = directory.write("secret", secret);
        for arguments in [
            &["sign", "--secret-file", &file][..],
            &["verify", "--signature", "x", "--secret-file", &file],
            &["send", URL, "--secret-file", &file],
            &["listen", "--listen", "127.0.0.1:0", "--secret-file", &file],
        ] {
            let output = run(arguments);
            output.assert_fails(1, &["the secret file", part]);
            assert!(!output.stderr.contains("canary"));
        }
    }
    for arguments in [&["sign"][..], &["verify", "--signature", "x"], &["send", URL]] {
        run(arguments).assert_fails(1, &["ROOMZ_WEBHOOK_SECRET is not set", "--secret-file"]);
    }
    run_command(command().env("ROOMZ_WEBHOOK_SECRET", "canary ").arg("sign"), b"")
        .assert_fails(1, &["ROOMZ_WEBHOOK_SECRET begins or ends with white space"]);
}

#[test]
fn unreachable_receiver_fails_before_sending() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/");
    let message = format!("cannot connect to {closed}: Connection refused (os error 111); check");
    for json in [&[][..], &["--json"]] {
        let output = run_with_secret(
            &[&["send", url.as_str(), "--count", "1000", "--connections", "8"], json].concat(),
        );
        output.assert_fails(1, &[&message, "check that the receiver is running"]);
        assert_eq!(output.stdout, "");
    }
    run_with_secret(&["send", "http://a..b/"])
        .assert_fails(1, &["cannot connect to a..b: ", "check that", "host and port of the URL"]);
}

#[test]
fn reports_port_in_use() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    run_with_secret(&["listen", "--listen", &address])
        .assert_fails(1, &["cannot listen on", &address, "Address already in use", "--listen HOST:PORT"]);
    for (invalid, problem) in [
        ("nonsense", "invalid socket address"),
        ("127.0.0.1:99999", "invalid port value"),
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("a..b:0", "failed to lookup address"),
    ] {
        run_with_secret(&["listen", "--listen", invalid])
            .assert_fails(1, &[&format!("cannot listen on {invalid:?}"), problem, "port 0"]);
    }
}

#[test]
fn invalid_saved_line_fails_before_sending() {
    let receiver = TestReceiver::responding(|_, _| http::StatusCode::OK);
    let directory = TestDir::new();
    let good = r#"{"received":"2024-05-21T08:22:32.452Z","path":"/","headers":[],"body":"{}"}"#;
    for (invalid, problem) in [
        ("{\"body\":\"canary", "not JSON (column 15): the line may be cut"),
        ("{\"body\":canary}", "not JSON (column 9): "),
        ("[]", "not a saved delivery"),
        ("{}", "missing field `received`"),
        (&good.replace("\"{}\"", "7"), "a member has a wrong value"),
        (&good.replace(r#""body""#, r#""body_base64""#), "a member has a wrong value"),
        (&good[..40], "not JSON"),
    ] {
        let file = directory.write("saved", format!("{good}\n\n{good}\n{invalid}\n{good}\n"));
        let output = run(&["replay", &file, &receiver.url]);
        output.assert_fails(
            1,
            &[&format!("line 4 of {file}"), problem, "correct or remove", "nothing was sent"],
        );
        assert!(!output.stderr.contains("canary"));
    }
    for empty in ["", "\n\n"] {
        run(&["replay", &directory.write("saved", empty), &receiver.url])
            .assert_fails(1, &["contains no deliveries"]);
    }
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn closed_stdout_is_not_an_error() {
    let receiver = TestReceiver::with_layer();
    let url = &receiver.url;
    let script = format!(
        "{} send {url} | true; {0} completions bash | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_roomz")
    );
    let output = run_command(
        std::process::Command::new("bash").args(["-c", &script]).env("ROOMZ_WEBHOOK_SECRET", SECRET),
        b"",
    );
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("0\n", ""));
}
