use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::stats::{Counts, Stats};
use crate::error::interrupted;
use crate::escape::escape;
use crate::output::{self, DIM_STYLE, ERROR_STYLE, SUCCESS_STYLE, format_duration};

/// The results of a run.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) stats: &'a Stats,
    /// Names the only delivery, which is reported in one line.
    pub(super) single: Option<String>,
    pub(super) elapsed: Duration,
    pub(super) planned: PlannedCounts,
    /// Deliveries finished; less than planned after an interrupt.
    pub(super) done: u64,
    pub(super) interrupted: bool,
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

impl PlannedCounts {
    pub(crate) fn deliveries(&self) -> u64 {
        self.events + self.duplicates + self.forged
    }
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

impl Report<'_> {
    /// Prints the report as a table or as JSON. Fails when the run was interrupted or a delivery failed.
    pub(super) fn finish(&self, as_json: bool) -> Result<()> {
        if as_json {
            output::print_line(&self.json().to_string())?;
        } else if let (Some(single), Some(answer)) = (&self.single, &self.stats.last_answer) {
            let time = format_duration(self.stats.latency.max().into());
            output::print_line(&format!("{single}: {answer} in {time}"))?;
        } else {
            output::print(self.table().as_bytes())?;
        }
        let total = self.planned.deliveries();
        if self.interrupted {
            return Err(interrupted(format!("interrupted after {} of {total} deliveries", self.done)));
        }
        if let Some(advice) = self.stats.advice {
            let failed = &self.stats.failed;
            let results: Vec<_> =
                failed.iter().map(|(result, count)| format!("{count} × {result}")).collect();
            bail!("{} of {total} deliveries failed ({}): {advice}", sum(failed), results.join(", "));
        }
        Ok(())
    }

    fn table(&self) -> String {
        let (stats, planned) = (self.stats, self.planned);
        let mut table = Table::default();
        table.row("events", planned.events, "");
        let mut note = String::new();
        if planned.duplicates + planned.forged + stats.retries > 0 {
            note = format!(
                "{} duplicates, {} forged, {} retries",
                planned.duplicates, planned.forged, stats.retries
            );
        }
        table.row("sent", stats.sent, &note);
        if planned.unverified > 0 {
            table.row("unverified, not sent", planned.unverified, "--include-unverified sends them");
        }
        table.row("2xx", stats.accepted, "");
        table.row("duplicates detected", stats.duplicates, "");
        table.counts(stats.skipped.iter().filter(|(skipped, _)| *skipped != "duplicate"));
        table.row("rejected", sum(&stats.rejected), "");
        table.counts(&stats.rejected);
        if planned.forged > 0 {
            table.row("forged, rejected 401", stats.forged_rejected, "");
            table.row("forged, accepted", stats.forged_accepted, "");
        }
        table.row("connection errors", sum(&stats.transport_errors), "");
        table.counts(&stats.transport_errors);
        if !stats.latency.is_empty() {
            let latencies =
                self.latencies().map(|(name, micros)| format!("{name} {}", format_duration(micros)));
            table.line("latency", &latencies.join("   "));
        }
        let elapsed = format_duration(self.elapsed.as_micros());
        table.line("rate", &format!("{:.0} per second ({elapsed})", self.rate()));
        let (style, text) = match sum(&stats.failed) {
            0 if !self.interrupted => (SUCCESS_STYLE, "all as expected".to_owned()),
            failed => (ERROR_STYLE, format!("{failed} failed")),
        };
        table.line("deliveries", &format!("{style}{text}{style:#}"));
        table.0
    }

    fn json(&self) -> Value {
        let (stats, planned) = (self.stats, self.planned);
        #[expect(clippy::cast_precision_loss, reason = "at most one hour")]
        let latency =
            self.latencies().map(|(name, micros)| (name.to_owned(), json!(micros as f64 / 1_000.0)));
        json!({
            "events": planned.events,
            "duplicates": planned.duplicates,
            "unverified_not_sent": planned.unverified,
            "sent": stats.sent,
            "retries": stats.retries,
            "accepted": stats.accepted,
            "duplicates_detected": stats.duplicates,
            "skipped": stats.skipped,
            "rejected": stats.rejected,
            "forged": {
                "sent": planned.forged, "rejected": stats.forged_rejected, "accepted": stats.forged_accepted,
            },
            "connection_errors": stats.transport_errors,
            "failed": sum(&stats.failed),
            "interrupted": self.interrupted,
            "latency_ms": if stats.latency.is_empty() { Value::Null } else { latency.into_iter().collect() },
            "seconds": self.elapsed.as_secs_f64(),
            "rate": self.rate(),
        })
    }

    /// In microseconds.
    fn latencies(&self) -> [(&'static str, u128); 4] {
        PERCENTILES.map(|(name, quantile)| (name, self.stats.latency.value_at_quantile(quantile).into()))
    }

    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
        let sent = self.stats.sent as f64;
        sent / self.elapsed.as_secs_f64().max(0.000_001)
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, label: &str, number: u64, note: &str) {
        let note = if note.is_empty() { String::new() } else { format!("   {DIM_STYLE}{note}{DIM_STYLE:#}") };
        let _ = writeln!(self.0, "{label:<24}{number:>12}{note}");
    }

    fn counts<'a>(&mut self, counts: impl IntoIterator<Item = (&'a String, &'a u64)>) {
        for (text, number) in counts {
            self.row(&format!("  {}", escape(text)), *number, "");
        }
    }

    fn line(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.0, "{label:<26}{text}");
    }
}
