//! Descriptions of all metrics, and the counters with the value 0.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, histogram};

const OPERATIONS: [&str; 10] =
    ["enqueue", "count", "take", "renew", "complete", "confirm", "fail", "give_back", "stats", "purge"];
const OUTCOMES: [&str; 6] = ["done", "failed", "dead", "lost", "unrecorded", "shut_down"];

/// Describes every metric, and creates every counter and histogram.
///
/// A series that appears with its first increment hides it from `increase()` and `rate()` of Prometheus. A
/// worker creates the gauges when it has read the database: without one, 0 would not be true.
pub(crate) fn register() {
    describe_gauge!("roomz_inbox_events", Unit::Count, "Events that are not done, by state");
    describe_gauge!(
        "roomz_inbox_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest event that waits or runs"
    );
    describe_counter!("roomz_inbox_attempts_total", Unit::Count, "Ended attempts, by outcome");
    describe_histogram!(
        "roomz_inbox_done_seconds",
        Unit::Seconds,
        "Time from the arrival of an event until it is done"
    );
    describe_counter!(
        "roomz_inbox_full_total",
        Unit::Count,
        "Events rejected because too many are open or wait for the database"
    );
    describe_counter!(
        "roomz_inbox_database_errors_total",
        Unit::Count,
        "Failed database operations, by operation"
    );
    for outcome in OUTCOMES {
        counter!("roomz_inbox_attempts_total", "outcome" => outcome).increment(0);
    }
    for operation in OPERATIONS {
        counter!("roomz_inbox_database_errors_total", "operation" => operation).increment(0);
    }
    counter!("roomz_inbox_full_total").increment(0);
    // It exists without a value once it has a handle.
    drop(histogram!("roomz_inbox_done_seconds"));
}
