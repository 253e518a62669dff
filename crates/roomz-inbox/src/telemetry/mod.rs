//! Every log line and every metric of the inbox. None of them holds a body.
//!
//! Log messages are constant and have the target `roomz_inbox`; the variable part is in fields.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use roomz_sql::db::queue::Failed;
use roomz_webhook::store::ClaimKey;

use crate::entry::InboxStats;
use crate::error_text::{bounded, error_text};

#[cfg(feature = "metrics")]
pub(crate) mod series;

#[cfg(feature = "metrics")]
use metrics::{counter, gauge, histogram};

/// Replaces the macros of the `metrics` crate when the feature is off.
#[cfg(not(feature = "metrics"))]
mod disabled {
    pub(super) struct Disabled;
    impl Disabled {
        pub(super) fn increment(&self, _: impl Sized) {}
        pub(super) fn set(&self, _: impl Sized) {}
        pub(super) fn record(&self, _: impl Sized) {}
    }
    macro_rules! disabled {
        ($name:literal $(, $label:literal => $value:expr)*) => {{
            $(let _ = &$value;)*
            $crate::telemetry::disabled::Disabled
        }};
    }
    pub(super) use {disabled as counter, disabled as gauge, disabled as histogram};
}
#[cfg(not(feature = "metrics"))]
use disabled::{counter, gauge, histogram};

const TARGET: &str = "roomz_inbox";

/// An outcome of an attempt: the lease ended and another worker took the event.
pub(crate) const LOST: &str = "lost";
/// An outcome of an attempt: what happened could not be recorded.
pub(crate) const UNRECORDED: &str = "unrecorded";
/// An outcome of an attempt: the worker shut down.
pub(crate) const SHUT_DOWN: &str = "shut_down";

pub(crate) fn database_failed(operation: &'static str, failed: Failed) {
    let error: Arc<sqlx::Error> = failed.into();
    tracing::warn!(
        target: TARGET, operation, error = %error_text(&*error),
        hint = "check the database server, the free disk space, and handlers that keep a transaction open",
        "inbox database failed",
    );
    counter!("roomz_inbox_database_errors_total", "operation" => operation).increment(1);
}

/// A row that only a person or another program can have written. It stays in the queue.
pub(crate) fn unreadable_row(error: &(dyn Error + 'static)) {
    tracing::error!(
        target: TARGET, error = %error_text(error), hint = "correct or delete the row in the table roomz_inbox",
        "unreadable row",
    );
}

pub(crate) fn full(open: u64) {
    tracing::error!(
        target: TARGET, open, hint = "check that a worker runs; raise its concurrency or with_max_open", "inbox full",
    );
}

/// An event was not accepted because the inbox is full.
pub(crate) fn rejected_as_full() {
    counter!("roomz_inbox_full_total").increment(1);
}

/// Namespaces can come from a tenant.
fn namespace(key: &ClaimKey) -> String {
    bounded(key.namespace())
}

pub(crate) fn done(key: &ClaimKey, age: Duration) {
    tracing::info!(target: TARGET, namespace = namespace(key), event_id = %key.id(), age = ?age, "event done");
    counter!("roomz_inbox_attempts_total", "outcome" => "done").increment(1);
    histogram!("roomz_inbox_done_seconds").record(age.as_secs_f64());
}

pub(crate) fn attempt_failed(key: &ClaimKey, attempt: u32, pause: Duration, error: &str) {
    tracing::warn!(
        target: TARGET, namespace = namespace(key), event_id = %key.id(), attempt, retry_after = ?pause, error, "attempt failed",
    );
    counter!("roomz_inbox_attempts_total", "outcome" => "failed").increment(1);
}

pub(crate) fn dead_letter(key: &ClaimKey, attempt: u32, error: &str) {
    tracing::error!(
        target: TARGET, namespace = namespace(key), event_id = %key.id(), attempt, error,
        hint = "fix the cause, then retry or discard it with `roomz inbox`", "dead letter",
    );
    counter!("roomz_inbox_attempts_total", "outcome" => "dead").increment(1);
}

/// An attempt ended without a success or a failure of its handler.
pub(crate) fn attempt_ended(key: &ClaimKey, outcome: &'static str) {
    tracing::warn!(target: TARGET, namespace = namespace(key), event_id = %key.id(), outcome, "attempt ended without a result");
    counter!("roomz_inbox_attempts_total", "outcome" => outcome).increment(1);
}

/// PostgreSQL keeps many dead rows, and statements that read the index entries of these are slow.
pub(crate) fn dead_rows(count: i64, holder: Option<&str>) {
    let (held_by, hint) = match holder {
        Some(holder) => (holder, "end it, or what it waits for, so that autovacuum can remove the rows"),
        None => ("nothing", "check that autovacuum is on and keeps up with the table roomz_inbox"),
    };
    tracing::warn!(target: TARGET, count, held_by = bounded(held_by), hint, "dead rows slow the inbox");
}

/// `None` if the count failed: the gauges then have no number, so that an old one does not look current.
pub(crate) fn open(counted: Option<InboxStats>) {
    let number = |number: fn(InboxStats) -> f64| counted.map_or(f64::NAN, number);
    gauge!("roomz_inbox_events", "state" => "waiting").set(number(|open| to_f64(open.waiting)));
    gauge!("roomz_inbox_events", "state" => "running").set(number(|open| to_f64(open.running)));
    gauge!("roomz_inbox_oldest_seconds").set(number(|open| open.oldest.as_secs_f64()));
}

pub(crate) fn dead(counted: Option<u64>) {
    gauge!("roomz_inbox_events", "state" => "dead").set(counted.map_or(f64::NAN, to_f64));
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}
