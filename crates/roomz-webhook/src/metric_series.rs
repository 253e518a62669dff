//! Descriptions of all metrics, and their series with the value 0.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::response::{RejectionKind, Skipped};
use crate::telemetry::Operation;

const OPERATIONS: [Operation; 4] =
    [Operation::Claim, Operation::Renew, Operation::Complete, Operation::Release];

/// Describes every metric, and creates every series whose labels are known.
///
/// A series that appears with its first increment hides it from `increase()` and `rate()` of Prometheus.
pub(crate) fn register(secrets: Option<usize>) {
    describe();
    register_secrets(secrets.unwrap_or_default());
    for name in [
        "roomz_webhook_accepted_total",
        "roomz_webhook_claims_lost_total",
        "roomz_webhook_claims_restored_total",
        "roomz_webhook_evicted_early_total",
        "roomz_webhook_handled_total",
        "roomz_webhook_id_reused_total",
        "roomz_webhook_released_total",
        "roomz_webhook_tenant_lookup_errors_total",
        "roomz_webhook_unknown_status_total",
        "roomz_webhook_unknown_total",
    ] {
        counter!(name).increment(0);
    }
    for kind in RejectionKind::ALL {
        counter!("roomz_webhook_rejected_total", "reason" => kind.as_str()).increment(0);
    }
    for skipped in [Skipped::Duplicate, Skipped::Stale, Skipped::Ignored] {
        counter!("roomz_webhook_skipped_total", "reason" => skipped.as_str()).increment(0);
    }
    for operation in OPERATIONS {
        counter!("roomz_webhook_store_errors_total", "operation" => operation.as_str()).increment(0);
    }
    for operation in [Operation::Complete, Operation::Release] {
        counter!("roomz_webhook_settlements_abandoned_total", "operation" => operation.as_str()).increment(0);
    }
    for name in ["roomz_webhook_in_flight", "roomz_webhook_pending_settlements"] {
        gauge!(name).increment(0.0);
    }
    // A histogram exists without a value once it has a handle.
    for name in ["roomz_webhook_event_age_seconds", "roomz_webhook_handling_seconds"] {
        drop(histogram!(name));
    }
    for operation in OPERATIONS {
        drop(histogram!("roomz_webhook_store_seconds", "operation" => operation.as_str()));
    }
}

/// Creates the series of the secrets, also of those that a [`SecretsHandle`](crate::SecretsHandle) sets later.
pub(crate) fn register_secrets(count: usize) {
    for position in 0..count {
        counter!("roomz_webhook_verified_total", "secret" => crate::telemetry::position(position))
            .increment(0);
    }
}

fn describe() {
    for (name, description) in [
        ("roomz_webhook_verified_total", "Deliveries with a valid signature, by the position of the secret"),
        ("roomz_webhook_accepted_total", "Events passed to the handler"),
        ("roomz_webhook_handled_total", "Events that the handler answered 2xx"),
        ("roomz_webhook_released_total", "Events released for a redelivery because the handler failed"),
        ("roomz_webhook_skipped_total", "Deliveries answered 200 without the handler, by reason"),
        ("roomz_webhook_rejected_total", "Rejected deliveries, by reason"),
        ("roomz_webhook_unknown_total", "Events of an unknown type or with unreadable data"),
        ("roomz_webhook_unknown_status_total", "Presence events whose status is neither Free nor Busy"),
        ("roomz_webhook_id_reused_total", "Known event ids received with another body"),
        (
            "roomz_webhook_claims_lost_total",
            "Claims lost while the handler ran: the event may be handled twice",
        ),
        ("roomz_webhook_claims_restored_total", "Claims that the store lost and that were claimed again"),
        ("roomz_webhook_settlements_abandoned_total", "Completions and releases that were never recorded"),
        ("roomz_webhook_tenant_lookup_errors_total", "Tenant lookups that failed"),
        ("roomz_webhook_store_errors_total", "Failed store operations, by operation"),
        (
            "roomz_webhook_evicted_early_total",
            "Ids that the memory store evicted before their retention ended",
        ),
    ] {
        describe_counter!(name, Unit::Count, description);
    }
    describe_gauge!("roomz_webhook_in_flight", Unit::Count, "Running handlers");
    describe_gauge!(
        "roomz_webhook_pending_settlements",
        Unit::Count,
        "Completions and releases that are retried in the background"
    );
    for (name, description) in [
        ("roomz_webhook_event_age_seconds", "Time from the event's timestamp to its arrival"),
        ("roomz_webhook_handling_seconds", "Time in the handler"),
        ("roomz_webhook_store_seconds", "Time of a store operation, by operation"),
    ] {
        describe_histogram!(name, Unit::Seconds, description);
    }
}
