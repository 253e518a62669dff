//! What is counted.

use std::collections::BTreeMap;

use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use roomz_tests::{Fault, Op, Rig};
use roomz_webhook::testing::TestEvent;

fn counters(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
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
async fn everything_that_happens_is_counted_under_its_name() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let rig = Rig::handling(async |delivery| {
        Ok(if delivery.attempt() == 1 && delivery.body().windows(4).any(|text| text == b"fail") {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        })
    });
    let event = TestEvent::busy();
    rig.deliver(&event).await; // handled
    rig.deliver(&event).await; // duplicate
    rig.deliver(&event.clone().with("other", 1)).await; // duplicate, id reused
    rig.deliver(&TestEvent::busy().with("note", "fail")).await; // released
    rig.deliver(&TestEvent::busy().with_type("workspace.booked")).await; // unknown, handled
    rig.deliver_body(b"{}").await; // malformed
    rig.send(event.request("/", &roomz_webhook::Secret::new("a guess").unwrap())).await; // forged
    rig.store.break_next(Op::Claim, Fault::Fails, 1);
    rig.deliver(&TestEvent::busy()).await; // store down

    let counted = counters(&snapshotter);
    let expected = BTreeMap::from(
        [
            ("verified_total{secret=0}", 7.0),
            ("accepted_total", 3.0),
            ("handled_total", 2.0),
            ("released_total", 1.0),
            ("unknown_total", 1.0),
            ("id_reused_total", 1.0),
            ("skipped_total{why=duplicate}", 2.0),
            ("rejected_total{reason=event-malformed}", 1.0),
            ("rejected_total{reason=signature-mismatch}", 1.0),
            ("rejected_total{reason=store-unavailable}", 1.0),
            ("store_errors_total{operation=claim}", 1.0),
            ("in_flight", 0.0),
            ("event_age_seconds", 6.0),
            ("handling_seconds", 3.0),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_a_renewal_that_fails_and_what_is_skipped_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let rig = Rig::with(
        |builder| {
            let minute = std::time::Duration::from_secs(60);
            builder.with_lease_ceiling(minute).with_duplicate_wait(std::time::Duration::ZERO)
        },
        async |delivery| {
            let seconds = if delivery.attempt() == 1 { 100 } else { 1 };
            tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
            Ok(StatusCode::OK)
        },
    );
    rig.store.break_next(Op::Renew, Fault::Fails, 1);
    let event = TestEvent::busy();
    let (first, second) = tokio::join!(rig.deliver(&event), async {
        tokio::time::sleep(std::time::Duration::from_secs(70)).await;
        rig.deliver(&event).await
    });
    assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK));
    rig.store.break_next(Op::Complete, Fault::Fails, 2);
    rig.deliver(&TestEvent::busy()).await;
    rig.layer.drain().await;
    let counted = counters(&snapshotter);
    assert_eq!(counted.get("lost_total"), Some(&1.0));
    assert_eq!(counted.get("store_errors_total{operation=renew}"), Some(&1.0));
    assert_eq!(counted.get("store_errors_total{operation=complete}"), Some(&2.0), "each try");
}

#[tokio::test(start_paused = true)]
async fn another_body_that_waits_is_counted_once_however_often_it_asks() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let rig = Rig::handling(async |_| {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        Ok(StatusCode::OK)
    });
    let event = TestEvent::busy();
    let other = event.clone().with("note", 1);
    let (first, second) = tokio::join!(rig.deliver(&event), rig.deliver(&other));
    assert_eq!((first.status, second.status, rig.runs()), (StatusCode::OK, StatusCode::OK, 1));
    assert!(rig.store.calls(Op::Claim) > 5, "it asked again and again");
    assert_eq!(counters(&snapshotter).get("id_reused_total"), Some(&1.0));
}
