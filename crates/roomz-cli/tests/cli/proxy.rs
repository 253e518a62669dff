//! The proxy of the environment.

use http::StatusCode;

use crate::support::{RunOutput, TestReceiver, command_with_secret, run_command};

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
    for url in [receiver.url.clone(), receiver.url.replace("127.0.0.1", "localhost")] {
        send(&url, &[("http_proxy", address), ("ALL_PROXY", address)]).assert_succeeds();
    }
    assert_eq!((receiver.requests().len(), proxy.requests().len()), (2, 0));
}
