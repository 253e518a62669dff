//! `doctor`, against a receiver with the layer and receivers with one fault each.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use roomz_axum::Secret;
use serde_json::Value;

use crate::support::{ReceivedRequest, RunOutput, SECRET, TestReceiver, problem, run_with_secret};

/// The verdicts by check, and the report.
fn verdicts(output: &RunOutput) -> HashMap<String, String> {
    let report = output.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap();
    checks.iter().map(|check| (text(&check["check"]), text(&check["verdict"]))).collect()
}

fn doctor(url: &str) -> RunOutput {
    run_with_secret(&["doctor", url, "--json"])
}

/// Answers as the layer does, without its memory: 401 unless the signature of this body is right.
fn verify(request: &ReceivedRequest, body: &[u8]) -> Response {
    let signature = Secret::new(SECRET).unwrap().sign(body).to_base64();
    match request.headers.get("roomz-signature") {
        None => problem(401, "signature-missing"),
        Some(value) if *value == signature => StatusCode::OK.into_response(),
        Some(_) => problem(401, "signature-mismatch"),
    }
}

#[track_caller]
fn assert_fault(output: &RunOutput, check: &str, verdict: &str, part: &str) {
    assert_eq!(verdicts(output).get(check).map(String::as_str), Some(verdict), "{check}: {output:?}");
    assert!(output.stdout.contains(part), "{part:?}: {output:?}");
    assert_eq!(output.code, i32::from(verdict == "failed"), "{output:?}");
}

#[test]
fn healthy_receiver_passes_all_checks() {
    let receiver = TestReceiver::with_layer();
    let output = doctor(&receiver.url);
    let verdicts = verdicts(output.assert_succeeds());
    for check in ["delivery", "body", "duplicate", "forged", "unsigned", "oversized", "clock"] {
        assert_eq!(verdicts[check], "ok", "{check}: {output:?}");
    }
    assert!(verdicts.values().all(|verdict| verdict == "ok" || verdict == "not tested"), "{output:?}");
    // Only the events that it names arrive, each once.
    let report = output.json();
    let ids: Vec<_> = report["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let handled = receiver.handled();
    assert!(handled.iter().all(|(id, times)| ids.contains(&id.as_str()) && *times == 1), "{handled:?}");
    assert_eq!(receiver.requests()[0].json()["type"], "roomz.doctor");

    // A client cannot ask for it without TLS.
    assert_eq!(verdicts["HTTP/2"], "not tested");
    let text = run_with_secret(&["doctor", &receiver.url]).assert_succeeds().stdout.clone();
    assert!(text.starts_with("sends signed events of the type roomz.doctor with the ids "), "{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("duplicate     ok          ")).count(),
        1,
        "{text}"
    );
}

#[test]
fn wrong_path_and_redirect_are_named() {
    for (response, part) in [
        (StatusCode::NOT_FOUND.into_response(), "check the path of the URL"),
        ((StatusCode::FOUND, [("location", "/other")]).into_response(), "302 to /other"),
        (StatusCode::PERMANENT_REDIRECT.into_response(), "use the final URL"),
        ([("grpc-status", "12")].into_response(), "200 grpc-status 12"),
    ] {
        let (status, headers) = (response.status(), response.headers().clone());
        let receiver = TestReceiver::responding(move |_, _| (status, headers.clone()));
        let report = doctor(&receiver.url);
        assert_fault(&report, "delivery", "failed", part);
        assert_eq!(verdicts(&report)["unsigned"], "not tested", "{report:?}");
    }
}

#[test]
fn changed_signature_header_is_named() {
    for (reason, part) in [
        ("signature-missing", "a proxy removes, repeats or changes Roomz-Signature"),
        ("signature-repeated", "a proxy removes, repeats or changes Roomz-Signature"),
        ("signature-mismatch", "compare the secret"),
    ] {
        let receiver = TestReceiver::responding(move |_, _| problem(401, reason));
        assert_fault(&doctor(&receiver.url), "delivery", "failed", part);
    }
}

/// A proxy that parses the JSON and prints it again: compact, with sorted keys, or with spaces, which no
/// delivery survives.
#[test]
fn rewritten_body_is_detected() {
    type Reprint = fn(&str) -> String;
    let reprints: [(Reprint, &str, &str); 3] = [
        (
            |body| serde_json::from_str::<Value>(body).unwrap().to_string(),
            "body",
            "pass the body on as it is",
        ),
        (
            |body| {
                let mut value = serde_json::from_str::<Value>(body).unwrap();
                value.sort_all_objects();
                value.to_string()
            },
            "body",
            "pass the body on as it is",
        ),
        (
            |body| body.trim().replace("\":", "\": ").replace(":  ", ": ").replace(",\"", ", \""),
            "delivery",
            "a proxy rewrites the body",
        ),
    ];
    for (reprint, check, part) in reprints {
        let receiver = TestReceiver::responding(move |_, request: ReceivedRequest| {
            let text = String::from_utf8_lossy(&request.body);
            let is_event = text.trim().starts_with('{');
            verify(&request, if is_event { reprint(&text) } else { text.into_owned() }.as_bytes())
        });
        assert_fault(&doctor(&receiver.url), check, "failed", part);
    }
}

#[test]
fn receiver_that_accepts_everything_fails() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let output = doctor(&receiver.url);
    for check in ["forged", "unsigned", "oversized", "method GET"] {
        assert_fault(&output, check, "failed", "anybody could send events");
    }
    output.assert_fails(1, &["forged, unsigned, method GET, oversized"]);
}

#[test]
fn missing_duplicate_detection_is_a_warning() {
    let receiver = TestReceiver::responding(|_, request: ReceivedRequest| verify(&request, &request.body));
    assert_fault(&doctor(&receiver.url), "duplicate", "warning", "all instances share one store");
}

#[test]
fn unavailable_receiver_and_wrong_clock_are_named() {
    let receiver = TestReceiver::responding(|_, _| {
        ([("date", "Sun, 06 Nov 1994 08:49:37 GMT")], problem(503, "store-unavailable")).into_response()
    });
    let output = doctor(&receiver.url);
    assert_fault(&output, "delivery", "failed", "503 store-unavailable");
    assert_eq!(verdicts(&output)["clock"], "warning");
}

/// The receiver answers 408 as soon as it has a head.
#[test]
fn slow_body_is_tested_on_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_eq!(verdicts(&doctor(&url))["slow"], "not tested");
    assert_eq!(verdicts(&run_with_secret(&["doctor", &url, "--slow", "--json"]))["slow"], "ok");
}

#[test]
fn unreachable_receiver_is_one_line() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = doctor(&format!("http://{closed}/"));
    output.assert_fails(1, &["cannot check", "Connection refused", "check that the receiver is running"]);
    doctor("localhost:3000").assert_fails(2, &["invalid URL", "http://"]);
}
