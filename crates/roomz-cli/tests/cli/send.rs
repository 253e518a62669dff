use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::TcpListener;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use roomz_axum::Secret;

use crate::support::{
    SECRET, TestDir, TestReceiver, command_with_secret, problem, run, run_command, run_with_secret,
};

#[test]
fn sends_one_event_like_roomz() {
    let receiver = TestReceiver::with_layer();
    let directory = TestDir::new();
    let output = run(&["send", &receiver.url, "--secret-file", &directory.write("secret", SECRET)]);
    output.assert_succeeds();
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].headers["content-type"], "application/json");
    let event = roomz_axum::Event::parse(&requests[0].body).unwrap();
    assert_eq!(receiver.handled(), HashMap::from([(event.id.to_string(), 1)]));
    assert!(output.stdout.starts_with(&format!("event {}: 200 in ", event.id)), "{output:?}");
    assert_eq!(output.stdout.lines().count(), 1);
    let again = directory.write("body", &requests[0].body);
    let again = run_with_secret(&["send", &receiver.url, "--body", &again]).assert_succeeds().stdout.clone();
    assert!(again.starts_with(&format!("event {}: 200 (duplicate) in ", event.id)), "{again}");
    let another = directory.write("another", "another");
    let refused = run(&["send", &receiver.url, "--secret-file", &another]);
    assert!(refused.stdout.contains(": 401 signature-mismatch in "), "{refused:?}");
    let keys = ["id", "type", "timestamp", "apiVersion", "data"];
    assert!(keys.iter().all(|key| requests[0].json().get(key).is_some()));
}

#[test]
fn sends_distinct_events_and_duplicates() {
    let receiver = TestReceiver::with_layer();
    let arguments = ["send", &receiver.url, "--count", "500", "--connections", "8", "--duplicates", "0.2"];
    let output = run_with_secret(&arguments);
    output.assert_succeeds();
    assert_eq!((output.row("events"), output.row("sent"), output.row("accepted")), (500, 600, 600));
    assert_eq!(output.row("skipped"), 100);
    assert_eq!((output.row("rejected"), output.row("connection_errors")), (0, 0));
    let handled = receiver.handled();
    assert_eq!(handled.len(), 500);
    assert!(handled.values().all(|times| *times == 1));

    let mut bodies = BTreeMap::<_, u32>::new();
    for request in receiver.requests() {
        *bodies.entry(request.body).or_default() += 1;
    }
    assert_eq!(bodies.len(), 500, "duplicates have the same bytes");
    assert_eq!(bodies.values().filter(|times| **times == 2).count(), 100);
}

/// tonic answers a path that does not exist with 200 and `grpc-status: 12`. The webhook received nothing.
#[test]
fn grpc_status_is_a_failure() {
    let receiver = TestReceiver::responding(|_, _| [("grpc-status", "12")]);
    let output = run_with_secret(&["send", &receiver.url, "--count", "3"]);
    output.assert_fails(1, &["3 of 3 deliveries failed (3 × 200 grpc-status 12): a gRPC server answered"]);
    assert_eq!((output.row("accepted"), output.row("rejected")), (0, 3));
}

#[test]
fn sends_additional_forged_deliveries() {
    let receiver = TestReceiver::with_layer();
    let output =
        run_with_secret(&["send", &receiver.url, "--count", "40", "--forged", "0.25", "--connections", "4"]);
    output.assert_succeeds();
    assert_eq!((output.row("sent"), output.row("accepted"), output.row("rejected")), (50, 40, 10));
    assert_eq!(output.row("401 signature-mismatch"), 10);
    assert_eq!(receiver.handled().len(), 40);
    let secret = Secret::new(SECRET).unwrap();
    let wrong = receiver
        .requests()
        .iter()
        .filter(|request| request.signature() != secret.sign(&request.body).to_base64())
        .count();
    assert_eq!(wrong, 10);
}

#[test]
fn accepted_forgery_fails_without_retry() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let output = run_with_secret(&["send", &receiver.url, "--count", "4", "--forged", "0.5", "--retry"]);
    output.assert_fails(1, &["2 of 6 deliveries", "2 × 200 to a forged delivery", "must answer 401"]);
    assert_eq!(receiver.requests().len(), 6);
}

#[test]
fn rejected_delivery_fails_with_status_and_reason() {
    let receiver = TestReceiver::responding(|index, _| match index {
        0 => problem(503, "store-unavailable"),
        1 => problem(400, "event-malformed"),
        2 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        3 => (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    });
    let output = run_with_secret(&["send", &receiver.url, "--count", "6"]);
    output.assert_fails(1, &["4 of 6 deliveries", "1 × 503 store-unavailable"]);
    assert_eq!((output.row("accepted"), output.row("rejected")), (2, 4));
    for row in ["503 store-unavailable", "400 event-malformed", "500", "307"] {
        assert_eq!(output.row(row), 1, "{row}");
    }
    assert_eq!(receiver.requests().len(), 6, "redirects are not followed");
}

#[test]
fn json_has_same_numbers_as_table() {
    let receiver = TestReceiver::with_layer();
    let arguments = [
        "send",
        &receiver.url,
        "--count",
        "20",
        "--duplicates",
        "0.5",
        "--forged",
        "0.1",
        "--json",
        "--connections",
        "3",
    ];
    let json = run_with_secret(&arguments).assert_succeeds().json();
    for (member, number) in [
        ("events", 20),
        ("sent", 32),
        ("duplicates", 10),
        ("accepted", 30),
        ("failed", 0),
        ("retries", 0),
        ("forged", 2),
    ] {
        assert_eq!(json[member], number, "{member}");
    }
    assert_eq!(json["rejected"], serde_json::json!({ "401 signature-mismatch": 2 }));
    assert_eq!(json["skipped"], serde_json::json!({ "duplicate": 10 }));
    assert_eq!(json["connection_errors"], serde_json::json!({}));
    let latency = ["p50", "p90", "p99", "max"].map(|name| json["latency_ms"][name].as_f64().unwrap());
    assert!(latency.is_sorted() && latency[0] > 0.0, "{latency:?}");
    let (rate, seconds) = (json["rate"].as_f64().unwrap(), json["seconds"].as_f64().unwrap());
    assert!((rate * seconds - 32.0).abs() < 0.001);
}

#[test]
fn event_has_values_of_options() {
    let receiver = TestReceiver::with_layer();
    let workspace = "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5";
    let event = ["--workspace", workspace, "--status", "A\"way", "--type", "x.\u{1b}y"];
    let arguments =
        [&["send", &receiver.url, "--timestamp", "2024-05-21T10:22:32.452+02:00"], &event[..]].concat();
    run_with_secret(&arguments).assert_succeeds();
    let sent = receiver.requests()[0].json();
    let expected = serde_json::json!({
        "id": sent["id"], "type": "x.\u{1b}y", "timestamp": "2024-05-21T08:22:32.452Z", "apiVersion": "1.0",
        "data": { "workspaceId": workspace, "presenceStatus": "A\"way" },
    });
    assert_eq!(sent, expected);
}

#[test]
fn alternates_workspaces_and_statuses() {
    let receiver = TestReceiver::with_layer();
    let workspaces = ["5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5", "6c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5"];
    let arguments =
        ["send", &receiver.url, "--count", "8", "--workspace", workspaces[0], "--workspace", workspaces[1]];
    run_with_secret(&arguments).assert_succeeds();
    let pairs: Vec<_> = receiver
        .requests()
        .iter()
        .map(|request| {
            let data = &request.json()["data"];
            (
                data["workspaceId"].as_str().unwrap().to_owned(),
                data["presenceStatus"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    for workspace in workspaces {
        for status in ["Busy", "Free"] {
            let pair = (workspace.to_owned(), status.to_owned());
            assert_eq!(pairs.iter().filter(|other| **other == pair).count(), 2, "{pair:?}");
        }
    }
}

#[test]
fn sends_body_file_byte_for_byte() {
    let directory = TestDir::new();
    let body = b"{\"x\": \"\xff\"}\r\n";
    let file = directory.write("body", body);
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    run_with_secret(&["send", &receiver.url, "--body", &file, "--duplicates", "1"]).assert_succeeds();
    run_command(command_with_secret().args(["send", &receiver.url, "--body", "-"]), body).assert_succeeds();
    let signature = Secret::new(SECRET).unwrap().sign(body).to_base64();
    assert_eq!(receiver.requests().len(), 3);
    for request in receiver.requests() {
        assert_eq!((&request.body[..], request.signature()), (&body[..], signature.as_str()));
    }
}

#[test]
fn limits_the_rate() {
    let receiver = TestReceiver::responding(|_, _| StatusCode::OK);
    let json = run_with_secret(&[
        "send",
        &receiver.url,
        "--count",
        "11",
        "--rate",
        "100",
        "--connections",
        "4",
        "--json",
    ]);
    let seconds = json.assert_succeeds().json()["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.1, "11 deliveries at 100 per second take 0.1 s, not {seconds} s");
}

#[test]
fn too_many_open_files_gets_advice() {
    let unresponsive = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", unresponsive.local_addr().unwrap());
    // Nobody responds, so all connections are open at the same time.
    let arguments = format!("send {url} --count 100 --connections 100 --timeout 0.3");
    let script = format!("ulimit -n 40; exec {} {arguments}", env!("CARGO_BIN_EXE_roomz"));
    let mut bash = std::process::Command::new("bash");
    let output = run_command(bash.args(["-c", &script]).env("ROOMZ_WEBHOOK_SECRET", SECRET), b"");
    output.assert_fails(1, &["Too many open files", "raise `ulimit -n`, or lower --connections"]);
    // The first connection was open, so the others do not end the run.
    assert_eq!(output.row("sent"), 100);
}

#[test]
fn opens_all_connections() {
    // No response ends before four requests have arrived.
    let arrived = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let all = std::sync::Arc::clone(&arrived);
    let receiver = TestReceiver::responding(move |index, _| {
        let all = std::sync::Arc::clone(&all);
        respond_when(move || {
            let mut arrived = all.lock().unwrap();
            arrived.insert(index);
            arrived.len() >= 4
        })
    });
    let output =
        run_with_secret(&["send", &receiver.url, "--count", "4", "--connections", "4", "--timeout", "20"]);
    output.assert_succeeds();
}

/// A response whose body ends as soon as the condition is true.
fn respond_when(mut condition: impl FnMut() -> bool + Send + 'static) -> Response {
    let body = futures_util::stream::poll_fn(move |context| {
        if condition() {
            std::task::Poll::Ready(None::<Result<axum::body::Bytes, std::io::Error>>)
        } else {
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        }
    });
    axum::body::Body::from_stream(body).into_response()
}

/// The receiver stalls once. All deliveries that were due meanwhile are late, and their latencies show it.
#[test]
fn stall_is_visible_in_latencies_at_a_rate() {
    let receiver = TestReceiver::responding(|index, _| {
        if index == 0 {
            std::thread::sleep(std::time::Duration::from_millis(400));
        }
        StatusCode::OK
    });
    let output = run_with_secret(&["send", &receiver.url, "--count", "20", "--rate", "100", "--json"]);
    // The last delivery was due after 190 ms.
    let p50 = output.assert_succeeds().json()["latency_ms"]["p50"].as_f64().unwrap();
    assert!(p50 > 200.0, "{p50}");
}
