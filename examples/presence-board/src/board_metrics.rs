//! The Prometheus metrics of the board and, on Linux, of its process, next to those of the layer.
//!
//! `monitoring/` has alerts and a dashboard for them.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::header;
use axum::response::IntoResponse;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
#[cfg(target_os = "linux")]
use metrics_process::Collector;

use crate::board::Board;
use crate::messages::InboxCounts;

const LAST_DELIVERY: &str = "presence_board_last_delivery_timestamp_seconds";
const RELOAD_SUCCESSFUL: &str = "presence_board_secrets_last_reload_successful";
const INBOX_ERRORS: &str = "presence_board_inbox_errors_total";

/// Installs the recorder, and creates the board's metrics. Call it before the layer is built, which creates
/// its own.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for &(name, buckets) in roomz_axum::HISTOGRAM_BUCKETS {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)?;
    }
    let handle = builder.install_recorder()?;
    describe();
    gauge!("presence_board_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    counter!("presence_board_late_total").increment(0);
    counter!(INBOX_ERRORS).increment(0);
    gauge!(LAST_DELIVERY).set(0);
    Ok(handle)
}

fn describe() {
    for (name, description) in [
        ("presence_board_late_total", "Events older than the status that the board shows"),
        (INBOX_ERRORS, "Failed reads of the inbox"),
    ] {
        describe_counter!(name, Unit::Count, description);
    }
    for (name, unit, description) in [
        ("presence_board_build_info", Unit::Count, "Always 1; the version is a label"),
        (
            LAST_DELIVERY,
            Unit::Seconds,
            "Unix time of the last delivery with a valid signature, 0 before the first",
        ),
        (RELOAD_SUCCESSFUL, Unit::Count, "1, or 0 if the last reload of the secret files failed"),
        ("presence_board_secrets", Unit::Count, "Webhook secrets in use"),
        ("presence_board_workspaces", Unit::Count, "Workspaces by status; unknown before the first event"),
        ("roomz_inbox_events", Unit::Count, "Events in the inbox, by state"),
        (
            "roomz_inbox_oldest_seconds",
            Unit::Seconds,
            "Age of the oldest event in the inbox that is not done",
        ),
    ] {
        describe_gauge!(name, unit, description);
    }
    #[cfg(target_os = "linux")]
    Collector::default().describe();
}

/// Answers a scrape. What changes with every event or without one is read here, at no cost for deliveries.
pub(crate) fn scrape(metrics: &PrometheusHandle, board: &Board) -> impl IntoResponse + use<> {
    for (status, count) in board.status_counts() {
        gauge!("presence_board_workspaces", "status" => status).set(to_f64(count));
    }
    #[cfg(target_os = "linux")]
    Collector::default().collect();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

/// Records the time of a delivery with a valid signature.
pub(crate) fn delivery_received() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(LAST_DELIVERY).set(now.as_secs_f64());
}

/// Records that this number of secrets is in use.
pub fn secrets_loaded(count: usize) {
    gauge!("presence_board_secrets").set(to_f64(count as u64));
    gauge!(RELOAD_SUCCESSFUL).set(1);
}

/// Records that the secret files could not be read again.
pub fn reload_failed() {
    gauge!(RELOAD_SUCCESSFUL).set(0);
}

/// Records the numbers of the inbox under the names that its worker uses.
pub fn inbox_read(counts: &InboxCounts) {
    set_inbox([counts.waiting, counts.running, counts.dead, counts.oldest_seconds].map(to_f64));
}

/// Old numbers must not look current.
pub fn inbox_failed() {
    counter!(INBOX_ERRORS).increment(1);
    set_inbox([f64::NAN; 4]);
}

fn set_inbox([waiting, running, dead, oldest_seconds]: [f64; 4]) {
    for (state, count) in [("waiting", waiting), ("running", running), ("dead", dead)] {
        gauge!("roomz_inbox_events", "state" => state).set(count);
    }
    gauge!("roomz_inbox_oldest_seconds").set(oldest_seconds);
}

/// Gauges are floats. Counts above 2⁵³ would be rounded.
#[allow(clippy::cast_precision_loss, reason = "no count is that large")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
