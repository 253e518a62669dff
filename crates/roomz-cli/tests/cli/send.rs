use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::TcpListener;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use roomz_axum::Secret;

use crate::support::{Files, Receiver, SECRET, command, finish, problem, roomz, with_secret};

#[test]
fn one_event_is_delivered_as_roomz_would() {
    let receiver = Receiver::real();
    let files = Files::new();
    let ran = roomz(&["send", &receiver.url, "--secret-file", &files.with("secret", SECRET)]);
    ran.succeeds();
    assert_eq!((ran.row("events"), ran.row("sent"), ran.row("2xx")), (1, 1, 1));
    let seen = receiver.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers["content-type"], "application/json");
    let event = roomz_axum::Event::parse(&seen[0].body).unwrap();
    assert_eq!(receiver.handled(), HashMap::from([(event.id.to_string(), 1)]));
    let keys = ["id", "type", "timestamp", "apiVersion", "data"];
    assert!(keys.iter().all(|key| seen[0].json().get(key).is_some()));
}

#[test]
fn many_are_distinct_and_a_fraction_is_recognised_as_duplicates() {
    let receiver = Receiver::real();
    let arguments = ["send", &receiver.url, "--count", "500", "--connections", "8", "--duplicates", "0.2"];
    let ran = with_secret(&arguments);
    ran.succeeds();
    assert_eq!((ran.row("events"), ran.row("sent"), ran.row("2xx")), (500, 600, 600));
    assert_eq!(ran.row("duplicates recognised"), 100);
    assert_eq!((ran.row("refused"), ran.row("connection errors")), (0, 0));
    let handled = receiver.handled();
    assert_eq!(handled.len(), 500);
    assert!(handled.values().all(|times| *times == 1));

    let mut bodies = BTreeMap::<_, u32>::new();
    for seen in receiver.seen() {
        *bodies.entry(seen.body).or_default() += 1;
    }
    assert_eq!(bodies.len(), 500, "what is sent twice is the same byte for byte");
    assert_eq!(bodies.values().filter(|times| **times == 2).count(), 100);
}

#[test]
fn forged_ones_are_sent_in_addition_and_refused() {
    let receiver = Receiver::real();
    let ran =
        with_secret(&["send", &receiver.url, "--count", "40", "--forged", "0.25", "--connections", "4"]);
    ran.succeeds();
    assert_eq!((ran.row("sent"), ran.row("2xx"), ran.row("refused")), (50, 40, 10));
    assert_eq!(ran.row("401 signature-mismatch"), 10);
    assert_eq!((ran.row("forged refused with 401"), ran.row("forged accepted")), (10, 0));
    assert_eq!(receiver.handled().len(), 40);
    let secret = Secret::new(SECRET).unwrap();
    let wrong =
        receiver.seen().iter().filter(|seen| seen.signature() != secret.sign(&seen.body).to_base64()).count();
    assert_eq!(wrong, 10);
}

#[test]
fn an_accepted_forgery_is_a_failure_and_not_tried_again() {
    let gullible = Receiver::answering(|_, _| StatusCode::OK);
    let ran = with_secret(&[
        "send",
        &gullible.url,
        "--count",
        "4",
        "--forged",
        "0.5",
        "--retry",
        "--back-off",
        "0",
    ]);
    ran.fails(1, &["2 of 6 deliveries", "2 × 200 to a forged one", "must answer 401"]);
    assert_eq!((ran.row("forged accepted"), gullible.seen().len()), (2, 6));
}

#[test]
fn a_delivery_that_is_not_accepted_is_a_failure_with_status_and_reason() {
    let refusing = Receiver::answering(|number, _| match number {
        0 => problem(503, "store-unavailable"),
        1 => problem(400, "event-malformed"),
        2 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        3 => (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    });
    let ran = with_secret(&["send", &refusing.url, "--count", "6"]);
    ran.fails(1, &["4 of 6 deliveries", "1 × 503 store-unavailable"]);
    assert_eq!((ran.row("2xx"), ran.row("refused")), (2, 4));
    for row in ["503 store-unavailable", "400 event-malformed", "500", "307"] {
        assert_eq!(ran.row(row), 1, "{row}");
    }
    assert_eq!(refusing.seen().len(), 6, "a redirection is not followed");
}

#[test]
fn json_has_the_same_figures() {
    let receiver = Receiver::real();
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
    let json = with_secret(&arguments).succeeds().json();
    for (member, number) in [
        ("events", 20),
        ("sent", 32),
        ("sent_twice", 10),
        ("accepted", 30),
        ("duplicates_recognised", 10),
        ("failed", 0),
        ("retries", 0),
    ] {
        assert_eq!(json[member], number, "{member}");
    }
    assert_eq!(
        json["refused"],
        serde_json::json!([{ "status": 401, "reason": "signature-mismatch", "count": 2 }])
    );
    assert_eq!(json["forged"], serde_json::json!({ "sent": 2, "refused": 2, "accepted": 0 }));
    assert_eq!(json["connection_errors"], serde_json::json!([]));
    let latency = ["p50", "p90", "p99", "max"].map(|name| json["latency_ms"][name].as_f64().unwrap());
    assert!(latency.is_sorted() && latency[0] > 0.0, "{latency:?}");
    let (rate, seconds) = (json["rate"].as_f64().unwrap(), json["seconds"].as_f64().unwrap());
    assert!((rate * seconds - 32.0).abs() < 0.001);
}

#[test]
fn the_event_is_as_asked_for() {
    let receiver = Receiver::real();
    let (id, workspace) = ("{E6AE112E-2af3-4d72-894b-03435d7afde4}", "5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5");
    let event = ["--id", id, "--workspace", workspace, "--status", "A\"way", "--type", "x.\u{1b}y"];
    let arguments =
        [&["send", &receiver.url, "--timestamp", "2024-05-21T10:22:32.452+02:00"], &event[..]].concat();
    with_secret(&arguments).succeeds();
    let expected = serde_json::json!({
        "id": id, "type": "x.\u{1b}y", "timestamp": "2024-05-21T08:22:32.452Z", "apiVersion": "1.0",
        "data": { "workspaceId": workspace, "presenceStatus": "A\"way" },
    });
    assert_eq!(receiver.seen()[0].json(), expected);
}

#[test]
fn several_workspaces_are_taken_in_turn_with_both_statuses() {
    let receiver = Receiver::real();
    let workspaces = ["5c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5", "6c2f18a0-94f5-4d2c-a1ba-3bb53b1ac1f5"];
    let arguments =
        ["send", &receiver.url, "--count", "8", "--workspace", workspaces[0], "--workspace", workspaces[1]];
    with_secret(&arguments).succeeds();
    let seen: Vec<_> = receiver
        .seen()
        .iter()
        .map(|seen| {
            let data = &seen.json()["data"];
            (
                data["workspaceId"].as_str().unwrap().to_owned(),
                data["presenceStatus"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    for workspace in workspaces {
        for status in ["Busy", "Free"] {
            let pair = (workspace.to_owned(), status.to_owned());
            assert_eq!(seen.iter().filter(|seen| **seen == pair).count(), 2, "{pair:?}");
        }
    }
}

#[test]
fn the_fraction_out_of_order_arrives_after_a_newer_one_of_its_workspace() {
    let receiver = Receiver::real();
    with_secret(&["send", &receiver.url, "--count", "100", "--out-of-order", "0.3"]).succeeds();
    let mut last = HashMap::new();
    let mut older = 0;
    for seen in receiver.seen() {
        let json = seen.json();
        let workspace = json["data"]["workspaceId"].as_str().unwrap().to_owned();
        let time = json["timestamp"].as_str().unwrap().to_owned();
        let before = last.insert(workspace, time.clone());
        older += u32::from(before.is_some_and(|before| time < before));
    }
    assert_eq!((older, last.len()), (30, 10));
}

#[test]
fn a_body_is_signed_and_sent_byte_for_byte() {
    let files = Files::new();
    let body = b"{\"x\": \"\xff\"}\r\n";
    let file = files.with("body", body);
    let receiver = Receiver::answering(|_, _| StatusCode::OK);
    with_secret(&["send", &receiver.url, "--body", &file, "--duplicates", "1"]).succeeds();
    finish(command().env("ROOMZ_WEBHOOK_SECRET", SECRET).args(["send", &receiver.url, "--body", "-"]), body)
        .succeeds();
    let signature = Secret::new(SECRET).unwrap().sign(body).to_base64();
    assert_eq!(receiver.seen().len(), 3);
    for seen in receiver.seen() {
        assert_eq!((&seen.body[..], seen.signature()), (&body[..], signature.as_str()));
    }
}

#[test]
fn the_rate_is_kept() {
    let receiver = Receiver::answering(|_, _| StatusCode::OK);
    let json = with_secret(&[
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
    let seconds = json.succeeds().json()["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.1, "the eleventh comes a tenth of a second after the first, not after {seconds} s");
}

#[test]
fn more_connections_than_files_may_be_open_are_advised_about() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listening.local_addr().unwrap());
    // Nobody answers: all connections are open at the same time.
    let arguments = format!("send {url} --count 100 --connections 100 --timeout 0.3");
    let script = format!("ulimit -n 40; exec {} {arguments}", env!("CARGO_BIN_EXE_roomz"));
    let mut bash = std::process::Command::new("bash");
    let ran = finish(bash.args(["-c", &script]).env("ROOMZ_WEBHOOK_SECRET", SECRET), b"");
    ran.fails(1, &["Too many open files", "raise `ulimit -n`, or lower --connections"]);
}

#[test]
fn as_many_connections_are_open_as_asked_for() {
    // Nobody is answered before all four are there.
    let barrier = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let all = std::sync::Arc::clone(&barrier);
    let receiver = Receiver::answering(move |number, _| {
        let all = std::sync::Arc::clone(&all);
        async_answer(move || {
            let mut there = all.lock().unwrap();
            there.insert(number);
            there.len() >= 4
        })
    });
    let ran = with_secret(&["send", &receiver.url, "--count", "4", "--connections", "4", "--timeout", "20"]);
    ran.succeeds();
}

/// A body that ends when it is so.
fn async_answer(mut is_so: impl FnMut() -> bool + Send + 'static) -> Response {
    let body = futures_util::stream::poll_fn(move |context| {
        if is_so() {
            std::task::Poll::Ready(None::<Result<axum::body::Bytes, std::io::Error>>)
        } else {
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        }
    });
    axum::body::Body::from_stream(body).into_response()
}
