//! Each mistake is one line that says what and how to mend it: exit code 2 for the command line, 1 for the rest.

use std::net::TcpListener;

use crate::support::{Files, Receiver, SECRET, command, finish, roomz, text, with_secret};

const URL: &str = "http://127.0.0.1:1/hook";

#[test]
fn unknown_flags_commands_and_values_are_one_line() {
    for (arguments, part) in [
        (&["send", URL, "--cuont", "3"][..], "a similar argument exists: '--count'"),
        (&["snd", URL], "a similar subcommand exists: 'send'"),
        (&[], "give a command: send, sign, verify, listen, replay, completions"),
        (&["send"], "<URL>"),
        (&["verify"], "--signature <TEXT>"),
        (&["replay", "file"], "<URL>"),
        (&["send", URL, "--count", "0"], "invalid value '0' for '--count <NUMBER>'"),
        (&["send", URL, "--count", "-1"], "invalid value '-1' for '--count <NUMBER>'"),
        (&["send", URL, "--connections", "0"], "--connections"),
        (&["send", URL, "--duplicates", "1.1"], "a number from 0 to 1, such as 0.2"),
        (&["send", URL, "--forged", "NaN"], "a number from 0 to 1"),
        (&["send", URL, "--out-of-order", "x"], "a number from 0 to 1"),
        (&["send", URL, "--rate", "0"], "a number above 0"),
        (&["send", URL, "--timeout", "0"], "seconds above 0"),
        (&["send", URL, "--retry", "--back-off", "-1"], "give seconds, such as 2.5"),
        (&["send", URL, "--back-off", "1"], "--retry"),
        (&["send", URL, "--workspace", "x"], "--workspace"),
        (&["send", URL, "--id", "x"], "--id"),
        (&["send", URL, "--timestamp", "now"], "--timestamp"),
        (&["send", URL, "--body", "f", "--status", "Busy"], "cannot be used with"),
        (&["send", URL, "--body", "f", "--count", "2"], "--duplicates 1"),
        (&["send", URL, "--id", "e6ae112e-2af3-4d72-894b-03435d7afde4", "--count", "2"], "--duplicates 1"),
        (&["send", URL, "--id", "e6ae112e-2af3-4d72-894b-03435d7afde4", "--forged", "1"], "leave out --id"),
        (&["sign", "--secret", "a", "--secret-file", "b"], "cannot be used with"),
        (&["listen", "--path", "hook"], "begins with /"),
        (&["listen", "--status", "99"], "from 200 to 599"),
        (&["listen", "--status", "100"], "from 200 to 599"),
        (&["replay", "file", URL, "--secret", "a"], "only with --resign"),
        (&["completions", "cmd"], "possible values: bash"),
    ] {
        with_secret(arguments).fails(2, &[part]);
    }
}

#[test]
fn a_url_that_cannot_be_used_is_one_line() {
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
            let ran = with_secret(arguments);
            ran.fails(2, &["the URL", "one looks like http://127.0.0.1:3000/webhooks/roomz"]);
            assert!(!ran.err.contains('\u{1b}') && !ran.err.contains("canary"), "{ran:?}");
        }
    }
}

#[test]
fn an_unreadable_file_is_one_line() {
    let files = Files::new();
    let (none, directory) = (text(&files.path("none")), text(&files.path(".")));
    for file in [&none, &directory] {
        for arguments in [
            &["sign", file][..],
            &["verify", "--signature", "x", file],
            &["send", URL, "--body", file],
            &["replay", file, URL],
        ] {
            with_secret(arguments).fails(1, &["cannot read the file", file, "see that it exists"]);
        }
        roomz(&["sign", "--secret-file", file]).fails(1, &["the secret file", "cannot be read", "(os error"]);
    }
    with_secret(&["listen", "--listen", "127.0.0.1:0", "--save", &text(&files.path("none/file"))])
        .fails(1, &["cannot write the file", "directory exists"]);
    // A name that would control the terminal does not.
    with_secret(&["sign", "/no/\u{1b}[2J\nroomz: fine"]).fails(1, &["\\u{1b}[2J"]);
}

#[test]
fn an_unusable_secret_is_one_line_that_does_not_repeat_it() {
    let files = Files::new();
    for (secret, part) in [
        ("canary\n", "ends with a newline"),
        (" canary", "white space"),
        ("", "is empty"),
        ("\n", "only white space"),
        ("ca\0nary", "NUL"),
    ] {
        let file = files.with("secret", secret);
        for arguments in [
            &["sign", "--secret-file", &file][..],
            &["verify", "--signature", "x", "--secret-file", &file],
            &["send", URL, "--secret-file", &file],
            &["listen", "--listen", "127.0.0.1:0", "--secret-file", &file],
        ] {
            let ran = roomz(arguments);
            ran.fails(1, &["the secret file", part]);
            assert!(!ran.err.contains("canary"));
        }
    }
    for arguments in [&["sign"][..], &["verify", "--signature", "x"], &["send", URL]] {
        roomz(arguments).fails(1, &["ROOMZ_WEBHOOK_SECRET is not set", "--secret-file"]);
    }
    finish(command().env("ROOMZ_WEBHOOK_SECRET", "canary ").arg("sign"), b"")
        .fails(1, &["ROOMZ_WEBHOOK_SECRET begins or ends with white space"]);
}

#[test]
fn a_closed_port_is_one_line_and_nothing_is_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/");
    let place = format!("cannot connect to {closed}: connection refused");
    for json in [&[][..], &["--json"]] {
        let ran =
            with_secret(&[&["send", url.as_str(), "--count", "1000", "--connections", "8"], json].concat());
        ran.fails(1, &[&place, "see that the receiver runs"]);
        assert_eq!(ran.out, "");
    }
    with_secret(&["send", "http://a..b/"]).fails(1, &["cannot connect to a..b:80"]);
}

#[test]
fn a_port_that_is_taken_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    with_secret(&["listen", "--listen", &address])
        .fails(1, &["cannot listen on", &address, "--listen HOST:PORT"]);
    with_secret(&["listen", "--listen", "nonsense"]).fails(1, &["cannot listen on \"nonsense\"", "port 0"]);
}

#[test]
fn a_broken_line_in_a_saved_file_is_one_line_with_its_number_and_nothing_is_sent() {
    let receiver = Receiver::answering(|_, _| http::StatusCode::OK);
    let files = Files::new();
    let good =
        r#"{"received":"2024-05-21T08:22:32.452Z","method":"POST","path":"/","headers":[],"body":"{}"}"#;
    for (broken, what) in [
        ("{\"body\":\"canary", "is no JSON"),
        ("[]", "is no JSON object"),
        ("{}", "lacks the member \"method\""),
        (&good.replace("\"{}\"", "7"), "no text"),
        (&good.replace(r#""body""#, r#""body_base64""#), "no base64"),
        (&good[..40], "is no JSON"),
    ] {
        let file = files.with("saved", format!("{good}\n\n{good}\n{broken}\n{good}\n"));
        let ran = roomz(&["replay", &file, &receiver.url]);
        ran.fails(1, &[&format!("line 4 of {file}"), what, "mend or remove", "nothing was sent"]);
        assert!(!ran.err.contains("canary"));
    }
    for empty in ["", "\n\n"] {
        roomz(&["replay", &files.with("saved", empty), &receiver.url]).fails(1, &["holds no delivery"]);
    }
    assert_eq!(receiver.seen().len(), 0);
}

#[test]
fn the_reader_of_the_output_may_go_away() {
    let receiver = Receiver::real();
    let url = &receiver.url;
    let script = format!(
        "{} send {url} | true; {0} completions bash | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_roomz")
    );
    let ran = finish(
        std::process::Command::new("bash").args(["-c", &script]).env("ROOMZ_WEBHOOK_SECRET", SECRET),
        b"",
    );
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("0\n", ""));
}
