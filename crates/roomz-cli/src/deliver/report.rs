use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::stats::Stats;
use crate::error::CliError;
use crate::escape::escape;
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE, format_duration};

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) stats: Stats,
    pub(crate) elapsed: Duration,
    /// Deliveries planned.
    pub(crate) total: u64,
    /// Deliveries finished; less than `total` after an interrupt.
    pub(crate) done: u64,
    pub(crate) interrupted: bool,
}

/// What was planned to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlannedCounts {
    /// Distinct events, or saved deliveries.
    pub(crate) events: u64,
    /// Events sent twice.
    pub(crate) duplicates: u64,
    pub(crate) forged: u64,
    /// Saved deliveries that are not sent, because their signature was wrong.
    pub(crate) unverified: u64,
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

impl Report {
    /// Prints the report as a table or as JSON. Fails when the run was interrupted or a delivery failed.
    pub(crate) fn finish(&self, planned: PlannedCounts, as_json: bool) -> Result<(), CliError> {
        if as_json {
            output::print_line(&self.json(planned).to_string())?;
        } else {
            output::print(self.table(planned).as_bytes())?;
        }
        if self.interrupted {
            return Err(CliError::interrupted(format!(
                "interrupted after {} of {} deliveries",
                self.done, self.total
            )));
        }
        self.error().map_or(Ok(()), Err)
    }

    fn error(&self) -> Option<CliError> {
        let (most_frequent, _) = self.stats.failed.iter().max_by_key(|(_, number)| **number)?;
        let results: Vec<_> = self
            .stats
            .failed
            .iter()
            .map(|(failure, number)| format!("{number} × {}", failure.result))
            .collect();
        Some(CliError::failed(format!(
            "{} of {} deliveries failed ({}): {}",
            self.failed(),
            self.total,
            results.join(", "),
            most_frequent.advice
        )))
    }

    fn table(&self, planned: PlannedCounts) -> String {
        let stats = &self.stats;
        let mut table = Table::default();
        table.row("events", planned.events, "");
        if planned.duplicates + planned.forged + stats.retries > 0 {
            let note = format!(
                "{} duplicates, {} forged, {} retries",
                planned.duplicates, planned.forged, stats.retries
            );
            table.row("sent", stats.sent, &note);
        } else {
            table.row("sent", stats.sent, "");
        }
        if planned.unverified > 0 {
            table.row("unverified, not sent", planned.unverified, "--include-unverified sends them");
        }
        table.row("2xx", stats.accepted, "");
        table.row("duplicates detected", stats.duplicates, "");
        for (skipped, number) in stats.skipped.iter().filter(|(skipped, _)| *skipped != "duplicate") {
            table.row(&format!("  {skipped}"), *number, "");
        }
        table.row("rejected", stats.rejected.values().sum::<u64>(), "");
        for ((status, reason), number) in &stats.rejected {
            table.row(format!("  {status} {reason}").trim_end(), *number, "");
        }
        if planned.forged > 0 {
            table.row("forged, rejected 401", stats.forged_rejected, "");
            table.row("forged, accepted", stats.forged_accepted, "");
        }
        table.row("connection errors", stats.transport_errors.values().sum::<u64>(), "");
        for (cause, number) in &stats.transport_errors {
            table.row(&format!("  {}", escape(cause)), *number, "");
        }
        if !stats.latency.is_empty() {
            let latencies: Vec<_> = PERCENTILES
                .iter()
                .map(|(name, quantile)| format!("{name} {}", format_duration(self.latency(*quantile))))
                .collect();
            table.line("latency", &latencies.join("   "));
        }
        let elapsed = format_duration(self.elapsed.as_micros());
        table.line("rate", &format!("{:.0} per second ({elapsed})", self.rate()));
        let failed = self.failed();
        let style = if failed == 0 { SUCCESS_STYLE } else { ERROR_STYLE };
        let text = if failed == 0 && !self.interrupted {
            "all as expected".to_owned()
        } else {
            format!("{failed} failed")
        };
        table.line("deliveries", &format!("{style}{text}{style:#}"));
        table.0
    }

    fn json(&self, planned: PlannedCounts) -> Value {
        let stats = &self.stats;
        let rejected: Vec<_> = stats
            .rejected
            .iter()
            .map(|((status, reason), number)| {
                let reason = if reason.is_empty() { Value::Null } else { json!(reason) };
                json!({ "status": status, "reason": reason, "count": number })
            })
            .collect();
        let connection_errors: Vec<_> = stats
            .transport_errors
            .iter()
            .map(|(cause, number)| json!({ "error": cause, "count": number }))
            .collect();
        let latency = PERCENTILES.iter().map(|(name, quantile)| {
            #[expect(clippy::cast_precision_loss, reason = "at most one hour")]
            let milliseconds = self.latency(*quantile) as f64 / 1_000.0;
            ((*name).to_owned(), json!(milliseconds))
        });
        json!({
            "events": planned.events,
            "duplicates": planned.duplicates,
            "unverified_not_sent": planned.unverified,
            "sent": stats.sent,
            "retries": stats.retries,
            "accepted": stats.accepted,
            "duplicates_detected": stats.duplicates,
            "skipped": stats.skipped,
            "rejected": rejected,
            "forged": {
                "sent": planned.forged, "rejected": stats.forged_rejected, "accepted": stats.forged_accepted,
            },
            "connection_errors": connection_errors,
            "failed": self.failed(),
            "interrupted": self.interrupted,
            "latency_ms": if stats.latency.is_empty() { Value::Null } else { Value::Object(latency.collect()) },
            "seconds": self.elapsed.as_secs_f64(),
            "rate": self.rate(),
        })
    }

    fn failed(&self) -> u64 {
        self.stats.failed.values().sum()
    }

    /// In microseconds.
    fn latency(&self, quantile: f64) -> u128 {
        self.stats.latency.value_at_quantile(quantile).into()
    }

    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
        let sent = self.stats.sent as f64;
        sent / self.elapsed.as_secs_f64().max(0.000_001)
    }
}

#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, label: &str, number: u64, note: &str) {
        let note = if note.is_empty() { String::new() } else { format!("   {DIM_STYLE}{note}{DIM_STYLE:#}") };
        let _ = writeln!(self.0, "{label:<24}{number:>12}{note}");
    }

    fn line(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.0, "{label:<26}{text}");
    }
}
