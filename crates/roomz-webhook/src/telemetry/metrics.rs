//! Every metric: its description, its series with the value 0, and how it is recorded.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::response::{RejectionKind, Skipped};

const OPERATIONS: [&str; 4] = ["claim", "renew", "complete", "release"];

/// Counters without labels.
const PLAIN_COUNTERS: [(&str, &str); 11] = [
    ("roomz_webhook_accepted_total", "Events passed to the handler"),
    ("roomz_webhook_handled_total", "Events that the handler answered 2xx"),
    ("roomz_webhook_released_total", "Events released for a redelivery because the handler failed"),
    ("roomz_webhook_unknown_total", "Events of an unknown type or with an unreadable timestamp or data"),
    ("roomz_webhook_unknown_status_total", "Presence events whose status is neither Free nor Busy"),
    ("roomz_webhook_future_timestamps_total", "Deliveries whose timestamp is more than 5 min in the future"),
    ("roomz_webhook_id_reused_total", "Known event ids received with another body"),
    ("roomz_webhook_claims_lost_total", "Claims lost while the handler ran: the event may be handled twice"),
    ("roomz_webhook_claims_restored_total", "Claims that the store lost and that were claimed again"),
    ("roomz_webhook_tenant_lookup_errors_total", "Tenant lookups that failed"),
    ("roomz_webhook_evicted_early_total", "Ids that the memory store evicted before their retention ended"),
];

const LABELLED_COUNTERS: [(&str, &str); 5] = [
    ("roomz_webhook_verified_total", "Deliveries with a valid signature, by the position of the secret"),
    ("roomz_webhook_skipped_total", "Deliveries answered 200 without the handler, by reason"),
    ("roomz_webhook_rejected_total", "Rejected deliveries, by reason"),
    ("roomz_webhook_settlements_abandoned_total", "Completions and releases that were never recorded"),
    ("roomz_webhook_store_errors_total", "Failed store operations, by operation"),
];

const GAUGES: [(&str, &str); 2] = [
    ("roomz_webhook_in_flight", "Running handlers"),
    ("roomz_webhook_pending_settlements", "Completions and releases that are retried in the background"),
];

/// Name and bucket boundaries, in seconds, of each histogram of this crate, for a Prometheus exporter.
///
/// Without them `metrics-exporter-prometheus` exports summaries, and alerts on quantiles never fire: see
/// [the documentation of the metrics](crate::docs::metrics#prometheus).
///
/// The boundaries contain the limits that matter: the 30 s that ROOMZ waits and the store timeout of 2 s.
pub const HISTOGRAM_BUCKETS: &[(&str, &[f64])] = &[
    (
        "roomz_webhook_event_age_seconds",
        &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0],
    ),
    (
        "roomz_webhook_handling_seconds",
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 18.0, 30.0, 60.0],
    ),
    (
        "roomz_webhook_store_seconds",
        &[
            0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0,
            4.0,
        ],
    ),
];

const HISTOGRAMS: [(&str, &str); 3] = [
    ("roomz_webhook_event_age_seconds", "Time from the event's timestamp to its arrival"),
    ("roomz_webhook_handling_seconds", "Time in the handler"),
    ("roomz_webhook_store_seconds", "Time of a store operation, by operation"),
];

/// Describes every metric, and creates every series whose labels are known.
///
/// A series that appears with its first increment hides it from `increase()` and `rate()` of Prometheus.
pub(crate) fn register() {
    for (name, description) in PLAIN_COUNTERS.into_iter().chain(LABELLED_COUNTERS) {
        describe_counter!(name, Unit::Count, description);
    }
    for (name, description) in GAUGES {
        describe_gauge!(name, Unit::Count, description);
        gauge!(name).increment(0.0);
    }
    for (name, description) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, description);
    }
    for (name, _) in PLAIN_COUNTERS {
        counter!(name).increment(0);
    }
    for kind in RejectionKind::ALL {
        counter!("roomz_webhook_rejected_total", "reason" => kind.as_str()).increment(0);
    }
    for skipped in [Skipped::Duplicate, Skipped::Stale, Skipped::Ignored] {
        counter!("roomz_webhook_skipped_total", "reason" => skipped.as_str()).increment(0);
    }
    for operation in ["complete", "release"] {
        counter!("roomz_webhook_settlements_abandoned_total", "operation" => operation).increment(0);
    }
    // A histogram exists without a value once it has a handle.
    drop(histogram!("roomz_webhook_event_age_seconds"));
    drop(histogram!("roomz_webhook_handling_seconds"));
    for operation in OPERATIONS {
        counter!("roomz_webhook_store_errors_total", "operation" => operation).increment(0);
        drop(histogram!("roomz_webhook_store_seconds", "operation" => operation));
    }
}

/// Creates the series of the secrets, also of those that a [`SecretsHandle`](crate::SecretsHandle) sets
/// later.
pub(crate) fn register_secrets(count: usize) {
    for position in 0..count {
        counter!("roomz_webhook_verified_total", "secret" => secret_label(position)).increment(0);
    }
}

/// Adds one to a counter without labels.
pub(super) fn count(name: &'static str) {
    counter!(name).increment(1);
}

/// Adds one to a counter with a label.
pub(super) fn count_by(name: &'static str, label: &'static str, value: &'static str) {
    counter!(name, label => value).increment(1);
}

pub(super) fn count_verified(secret_position: usize, tenant: Option<&str>) {
    let secret = secret_label(secret_position);
    match tenant {
        Some(tenant) => {
            counter!("roomz_webhook_verified_total", "secret" => secret, "tenant" => tenant.to_owned())
        }
        None => counter!("roomz_webhook_verified_total", "secret" => secret),
    }
    .increment(1);
}

pub(super) fn add_to_gauge(name: &'static str, value: f64) {
    gauge!(name).increment(value);
}

pub(super) fn record(name: &'static str, operation: Option<&'static str>, time: Duration) {
    match operation {
        Some(operation) => histogram!(name, "operation" => operation),
        None => histogram!(name),
    }
    .record(time.as_secs_f64());
}

const fn secret_label(position: usize) -> &'static str {
    match position {
        0 => "0",
        1 => "1",
        2 => "2",
        _ => "3+",
    }
}
