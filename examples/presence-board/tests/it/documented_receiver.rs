//! The alerts for every receiver, with one that the documentation alone describes.

#![cfg(unix)]

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{self, get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use roomz_axum::testing::TestEvent;
use roomz_axum::{EventData, Secret, WebhookEvent, WebhookLayer};
use roomz_tests::Server;
use serde_json::Value;

use crate::monitoring::{alert_rules, read, selectors, wait_for};
use crate::support::program::{deliver_to, post};

/// A receiver with the buckets as the documentation of roomz-webhook installs them, and nothing of the board.
fn start_documented_receiver(runtime: &tokio::runtime::Runtime) -> (String, Secret) {
    let mut exporter = PrometheusBuilder::new();
    for &(name, buckets) in roomz_axum::HISTOGRAM_BUCKETS {
        exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets).unwrap();
    }
    let handle = exporter.install_recorder().unwrap();
    let secret = Secret::new("the webhook secret").unwrap();
    let webhook = WebhookLayer::new(secret.clone());
    let handler = async |WebhookEvent(event): WebhookEvent| match event.data {
        EventData::WorkspacePresenceChanged(data) if data.presence_status.to_string() == "Fail" => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::OK,
    };
    let app = Router::new()
        .route("/webhooks/roomz", routing::post(handler).layer(webhook))
        .route("/metrics", get(async move || handle.render()));
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    runtime.spawn(async { axum::serve(listener, app).await.unwrap() });
    (address, secret)
}

/// `for` and the thresholds of slow handlers and stores take minutes: promtool tests them.
#[test]
fn alerts_fire_for_documented_receiver() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, secret) = start_documented_receiver(&runtime);
    let mut alerts = String::new();
    for line in read("alerts.yml").lines().filter(|line| !line.trim_start().starts_with("for: ")) {
        let line = if line.contains("_bucket[") {
            line.replace("> 10", "> 0").replace("> 0.5", "> 0")
        } else {
            line.into()
        };
        alerts.push_str(&line);
        alerts.push('\n');
    }
    let config = read("prometheus.yml")
        .replace("127.0.0.1:3000", &address)
        .replace("job_name: presence-board", "job_name: receiver")
        .replace("  - board_alerts.yml\n", "")
        .replace(": 15s", ": 1s");
    let files = [("prometheus.yml", config.as_str()), ("alerts.yml", alerts.as_str())];
    let Some(prometheus) = Server::prometheus_or_skip(&files) else { return };
    wait_for(&prometheus, "count_over_time(roomz_webhook_accepted_total[1m]) >= 2");
    let rules = alert_rules(&prometheus);
    let selectors = rules.iter().flat_map(|rule| selectors(rule["query"].as_str().unwrap()));
    for selector in selectors.filter(|selector| !selector.starts_with("roomz_inbox_")) {
        wait_for(&prometheus, &selector);
    }

    let deliver = |event: &TestEvent, secret: &Secret| deliver_to(&address, event, secret);
    let reused = TestEvent::busy();
    for event in [&reused, &reused.clone().with("note", 1), &TestEvent::presence("Offline")] {
        assert_eq!(deliver(event, &secret), 200);
    }
    // More than half of the events are late, and more than a tenth are forged.
    for _ in 0..10 {
        let old = TestEvent::busy().with_timestamp("2024-05-21T08:22:32Z".parse().unwrap());
        assert_eq!(deliver(&old, &secret), 200);
        assert_eq!(deliver(&TestEvent::free(), &Secret::new("a wrong secret").unwrap()), 401);
    }
    // A proxy that removes the signature.
    for _ in 0..40 {
        assert_eq!(post(&address, "", b"{}"), 401);
    }
    assert_eq!(deliver(&TestEvent::busy().with_type("workspace.booked"), &secret), 200);
    assert_eq!(deliver(&TestEvent::presence("Fail"), &secret), 500);
    assert_eq!(deliver(&TestEvent::busy().without("id"), &secret), 400);
    for name in [
        "EventsLate",
        "HandlerFails",
        "HandlerSlow",
        "IdReused",
        "MostRejected",
        "RejectedSignedDeliveries",
        "StoreSlow",
        "UnknownEvent",
        "UnknownStatus",
        "WrongSecret",
    ] {
        wait_for(&prometheus, &format!("ALERTS{{alertname=\"Roomz{name}\",alertstate=\"firing\"}}"));
    }
    let missing = "ALERTS{alertname=\"RoomzBucketsMissing\"}";
    assert_eq!(prometheus.prometheus_query(missing), Vec::<Value>::new());
}
