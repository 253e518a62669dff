//! The proxy of the environment.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use http::StatusCode;

use crate::support::{
    ListenProcess, RunOutput, TestDir, TestReceiver, command_with_secret, path_text, run_command,
    run_with_secret,
};

fn send(url: &str, variables: &[(&str, &str)]) -> RunOutput {
    let mut program = command_with_secret();
    run_command(program.envs(variables.iter().copied()).args(["send", url]), b"")
}

/// The proxy is a receiver that gets the absolute URL, so that no other machine is needed.
#[test]
fn receiver_is_reached_through_proxy() {
    let proxy = TestReceiver::responding(|_, _| StatusCode::OK);
    let address = proxy.url.trim_end_matches("/hook");
    let url = "http://receiver.invalid/hook";
    send(url, &[("http_proxy", address)]).assert_succeeds();
    send(url, &[("ALL_PROXY", address)]).assert_succeeds();
    let requests = proxy.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.headers["host"] == "receiver.invalid"));
    send(url, &[("http_proxy", address), ("NO_PROXY", "receiver.invalid")])
        .assert_fails(1, &["receiver.invalid"]);
    assert_eq!(proxy.requests().len(), 2);
}

#[test]
fn loopback_is_reached_without_proxy() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let proxy = TestReceiver::responding(|_, _| StatusCode::BAD_GATEWAY);
    let address = proxy.url.trim_end_matches("/hook");
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "0.0.0.0", "[::ffff:127.0.0.1]"] {
        let url = receiver.url.replace("127.0.0.1", host);
        send(&url, &[("http_proxy", address), ("ALL_PROXY", address)]).assert_succeeds();
    }
    assert_eq!((receiver.requests().len(), proxy.requests().len()), (5, 0));
}

/// Each command that connects to a receiver.
#[test]
fn every_command_uses_proxy_and_its_login() {
    let directory = TestDir::new();
    let save = path_text(&directory.path("saved.jsonl"));
    let proxy = TestReceiver::responding(|_, _| StatusCode::OK);
    let address = proxy.url.trim_end_matches("/hook").replace("http://", "http://roomz:pass%40word@");
    let url = "http://receiver.invalid/hook";
    let with_proxy = || {
        let mut command = command_with_secret();
        command.env("HTTP_PROXY", &address);
        command
    };
    let listener = ListenProcess::start_command(&mut with_proxy(), &["--forward", url, "--save", &save]);
    run_with_secret(&["send", &listener.url]).assert_succeeds();
    listener.stop("-TERM").assert_succeeds();
    run_command(with_proxy().args(["replay", &save, url]), b"").assert_succeeds();
    run_command(with_proxy().args(["send", url]), b"").assert_succeeds();
    let requests = proxy.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(request.headers["host"], "receiver.invalid");
        // base64 of `roomz:pass@word`
        assert_eq!(request.headers["proxy-authorization"], "Basic cm9vbXo6cGFzc0B3b3Jk");
    }
}

/// A proxy that answers the first request of each connection with this, and reports its head.
fn raw_proxy(answer: &'static [u8]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, heads) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let mut chunk = [0; 4096];
            let length = stream.read(&mut chunk).unwrap_or_default();
            let _ = sender.send(String::from_utf8_lossy(&chunk[..length]).into_owned());
            let _ = stream.write_all(answer);
        }
    });
    (address, heads)
}

#[test]
fn https_goes_through_tunnel() {
    let (address, heads) =
        raw_proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    let url = "https://receiver.invalid/hook";
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let proxy = format!("http://roomz:canary@{address}");
        let output = send(url, &[(variable, &proxy)]);
        output
            .assert_fails(1, &["receiver.invalid", "HTTPS_PROXY, HTTP_PROXY and ALL_PROXY if they are set"]);
        assert!(!output.stderr.contains("canary"), "{output:?}");
        let head = heads.recv().unwrap();
        assert!(head.starts_with("CONNECT receiver.invalid:443 HTTP/1.1\r\n"), "{head}");
        // base64 of `roomz:canary`
        assert!(head.to_lowercase().contains("proxy-authorization: basic cm9vbxo6y2fuyxj5\r\n"), "{head}");
    }
    // A SOCKS proxy gets a greeting of version 5.
    let output = send(url, &[("ALL_PROXY", &format!("socks5h://{address}"))]);
    output.assert_fails(1, &["receiver.invalid", "HTTPS_PROXY"]);
    assert!(heads.recv().unwrap().starts_with('\u{5}'));
}

#[test]
fn unreachable_proxy_gets_advice() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for url in ["http://receiver.invalid/hook", "https://receiver.invalid/hook"] {
        let output = send(url, &[("ALL_PROXY", &format!("http://u:canary@{closed}"))]);
        output.assert_fails(1, &["Connection refused", "ALL_PROXY if they are set"]);
        assert!(!output.stderr.contains("canary"), "{output:?}");
    }
}

#[test]
fn rejected_login_of_proxy_is_explained() {
    let proxy = TestReceiver::responding(|_, _| StatusCode::PROXY_AUTHENTICATION_REQUIRED);
    let address = proxy.url.trim_end_matches("/hook");
    send("http://receiver.invalid/hook", &[("http_proxy", address)])
        .assert_fails(1, &["1 × 407", "http://USER:PASSWORD@HOST:PORT"]);
}
