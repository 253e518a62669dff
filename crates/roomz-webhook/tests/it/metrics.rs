//! The metrics that the layer records.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use roomz_webhook::store::MokaStore;
use roomz_webhook::testing::{ManualClock, TestEvent};
use roomz_webhook::{Clock as _, Secret, Secrets, SecretsHandle, Tenant, TenantMap, WebhookLayer};
use tokio::time::sleep;

use crate::support::{Fault, FaultyStore, Op, TestReceiver};

/// The recorded metrics that are not 0.
fn counters(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let mut counted = series(snapshotter);
    counted.retain(|_, value| *value != 0.0);
    counted
}

/// The recorded metrics: counts, gauges, and the number of values in each histogram.
fn series(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let metrics = snapshotter.snapshot().into_vec();
    metrics
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| format!("{}={}", label.key(), label.value()));
            let labels = labels.collect::<Vec<_>>().join(",");
            let name = key.key().name().trim_start_matches("roomz_webhook_").to_owned();
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (if labels.is_empty() { name } else { format!("{name}{{{labels}}}") }, value)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn counts_ids_that_leave_early() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let store = MokaStore::builder().with_capacity(2).build();
    let (unused, kept) = (FaultyStore::new(MokaStore::new()), store.clone());
    let layer = WebhookLayer::builder(crate::support::secret()).with_store(kept).build().unwrap();
    let receiver = TestReceiver::with_layer(layer, unused, async |_| Ok(StatusCode::OK));
    for _ in 0..5 {
        receiver.deliver(&TestEvent::busy()).await;
    }
    let counted = counters(&snapshotter)["evicted_early_total"];
    assert_eq!((counted, store.evicted_early()), (3.0, 3));
}

#[tokio::test(start_paused = true)]
async fn counts_each_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::with_handler(async |delivery| {
        Ok(if delivery.attempt() == 1 && delivery.body().windows(4).any(|text| text == b"fail") {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        })
    });
    let event = TestEvent::busy();
    receiver.deliver(&event).await; // handled
    receiver.deliver(&event).await; // duplicate
    receiver.deliver(&event.clone().with("other", 1)).await; // duplicate, id reused
    receiver.deliver(&TestEvent::busy().with("note", "fail")).await; // released
    receiver.deliver(&TestEvent::busy().with_type("workspace.booked")).await; // unknown, handled
    receiver.deliver_body(b"{}").await; // malformed
    receiver.send(event.request("/", &Secret::new("a guess").unwrap())).await; // forged
    receiver.store.inject(Op::Claim, Fault::Error, 1);
    receiver.deliver(&TestEvent::busy()).await; // store down

    let mut counted = counters(&snapshotter);
    assert_eq!(counted.get("store_seconds{operation=claim}"), Some(&6.0));
    // A background task also measures a release, sooner or later.
    counted.retain(|name, _| !name.starts_with("store_seconds"));
    let expected = BTreeMap::from(
        [
            ("verified_total{secret=0}", 7.0),
            ("accepted_total", 3.0),
            ("handled_total", 2.0),
            ("released_total", 1.0),
            ("unknown_total", 1.0),
            ("id_reused_total", 1.0),
            ("skipped_total{reason=duplicate}", 2.0),
            ("rejected_total{reason=event-malformed}", 1.0),
            ("rejected_total{reason=signature-mismatch}", 1.0),
            ("rejected_total{reason=store-unavailable}", 1.0),
            ("store_errors_total{operation=claim}", 1.0),
            ("pending_settlements", 1.0),
            ("event_age_seconds", 6.0),
            ("handling_seconds", 3.0),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    assert_eq!(counted, expected);
}

/// An event whose handler did not start is rejected. It is not accepted, and so not released.
#[tokio::test(start_paused = true)]
async fn counts_event_that_did_not_start_as_rejected() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::one_at_a_time(
        |builder| builder,
        async |_| {
            sleep(Duration::from_secs(1)).await;
            Ok(StatusCode::OK)
        },
    );
    let (running, rejected) = (TestEvent::busy(), TestEvent::busy());
    tokio::join!(receiver.deliver(&running), receiver.deliver(&rejected), async {
        sleep(Duration::from_millis(500)).await;
        receiver.layer.drain().await;
    });
    let counted = counters(&snapshotter);
    let value = |name: &str| counted.get(name).copied().unwrap_or_default();
    assert_eq!((value("accepted_total"), value("handled_total"), value("released_total")), (1.0, 1.0, 0.0));
    assert_eq!(value("rejected_total{reason=shutting-down}"), 1.0);
}

/// With tenants, the label tells whose secret matched.
#[tokio::test]
async fn counts_verified_deliveries_by_tenant() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let secrets = ["the new secret", "the old secret"].map(|text| Secret::new(text).unwrap());
    let tenants = TenantMap::new();
    let acme = Tenant::new("acme", Secrets::new(secrets.clone()).unwrap()).unwrap();
    tenants.insert("/acme", acme).unwrap();
    let store = FaultyStore::new(MokaStore::new());
    let layer = WebhookLayer::builder_for_tenants(tenants).build().unwrap();
    let receiver = TestReceiver::with_layer(layer, store, async |_| Ok(StatusCode::OK));
    let request = TestEvent::busy().request("/acme", &secrets[1]);
    assert_eq!(receiver.send(request).await.status, 200);
    assert_eq!(counters(&snapshotter).get("verified_total{secret=1,tenant=acme}"), Some(&1.0));
}

#[tokio::test(start_paused = true)]
async fn counts_lost_claims_and_store_errors() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::with(
        |builder| builder.with_lease_ceiling(Duration::from_secs(60)).with_duplicate_wait(Duration::ZERO),
        async |delivery| {
            let duration = Duration::from_secs(if delivery.attempt() == 1 { 100 } else { 1 });
            sleep(duration).await;
            Ok(StatusCode::OK)
        },
    );
    receiver.store.inject(Op::Renew, Fault::Error, 1);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(receiver.deliver(&event), async {
        sleep(Duration::from_secs(70)).await;
        receiver.deliver(&event).await
    });
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    receiver.store.inject(Op::Complete, Fault::Error, 2);
    receiver.deliver(&TestEvent::busy()).await;
    receiver.layer.drain().await;
    let counted = counters(&snapshotter);
    assert_eq!(counted.get("claims_lost_total"), Some(&1.0));
    assert_eq!(counted.get("store_errors_total{operation=renew}"), Some(&1.0));
    assert_eq!(counted.get("store_errors_total{operation=complete}"), Some(&2.0), "one error per retry");
}

#[tokio::test(start_paused = true)]
async fn counts_waiting_reused_id_once() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::with_handler(async |_| {
        sleep(Duration::from_secs(5)).await;
        Ok(StatusCode::OK)
    });
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    let (first, second) = tokio::join!(receiver.deliver(&event), receiver.deliver(&other));
    assert_eq!((first.status, second.status, receiver.runs()), (StatusCode::OK, StatusCode::OK, 1));
    assert!(receiver.store.calls(Op::Claim) > 5, "the duplicate polls the store");
    assert_eq!(counters(&snapshotter).get("id_reused_total"), Some(&1.0));
}

#[test]
fn series_exist_from_start() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let handle = SecretsHandle::new(Secret::new("the webhook secret").unwrap());
    metrics::with_local_recorder(&recorder, || drop(WebhookLayer::new(handle.clone())));
    let before = series(&snapshotter);
    for name in [
        "verified_total{secret=0}",
        "accepted_total",
        "unknown_total",
        "unknown_status_total",
        "rejected_total{reason=signature-mismatch}",
        "skipped_total{reason=duplicate}",
        "store_errors_total{operation=claim}",
        "settlements_abandoned_total{operation=complete}",
        "in_flight",
        "pending_settlements",
        "event_age_seconds",
        "handling_seconds",
        "store_seconds{operation=renew}",
    ] {
        assert_eq!(before.get(name), Some(&0.0), "{name} in {before:?}");
    }
    assert!(!before.contains_key("verified_total{secret=1}"), "there is one secret");

    let secrets = [1, 2, 3, 4].map(|number| Secret::new(format!("secret {number}")).unwrap());
    metrics::with_local_recorder(&recorder, || handle.set(Secrets::new(secrets).unwrap()));
    let after = series(&snapshotter);
    for secret in ["1", "2", "3+"] {
        assert_eq!(after.get(&format!("verified_total{{secret={secret}}}")), Some(&0.0), "{after:?}");
    }
}

#[tokio::test]
async fn timestamps_from_the_future_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let clock = ManualClock::new();
    let in_five_minutes = clock.now() + Duration::from_secs(5 * 60);
    let receiver = TestReceiver::with(|builder| builder.with_clock(clock), async |_| Ok(StatusCode::OK));
    receiver.deliver(&TestEvent::busy().with("timestamp", "2024-05-21T08:22:32.452Z")).await;
    receiver.deliver(&TestEvent::busy().with_timestamp(in_five_minutes)).await;
    assert_eq!(counters(&snapshotter).get("future_timestamps_total"), None);
    receiver.deliver(&TestEvent::busy().with_timestamp(in_five_minutes + Duration::from_nanos(1))).await;
    receiver.deliver(&TestEvent::busy().with("timestamp", "2099-01-01T00:00:00Z")).await;
    assert_eq!(counters(&snapshotter).get("future_timestamps_total"), Some(&2.0));
    assert_eq!(receiver.runs(), 4);
}

#[tokio::test(start_paused = true)]
async fn unknown_status_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let receiver = TestReceiver::with_handler(async |_| Ok(StatusCode::OK));
    receiver.deliver(&TestEvent::busy()).await;
    receiver.deliver(&TestEvent::presence("Offline")).await;
    assert_eq!(counters(&snapshotter).get("unknown_status_total"), Some(&1.0));
}
