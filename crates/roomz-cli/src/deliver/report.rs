use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::stats::{Counts, Stats};
use crate::error::interrupted;
use crate::output::{self, format_duration};

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

impl Report<'_> {
    /// Prints the report. Fails when the run was interrupted or a delivery failed.
    pub(super) fn finish(&self, as_json: bool) -> Result<()> {
        let (stats, planned, total) = (self.stats, self.planned, self.planned.deliveries());
        if let (Some(single), Some(answer), false) = (&self.single, &stats.last_answer, as_json) {
            let time = format_duration(Duration::from_micros(stats.latency.max()));
            output::print_line(&format!("{single}: {answer} in {time}"))?;
        } else {
            output::print_values(&self.values(), as_json)?;
        }
        if planned.unverified > 0 && !as_json {
            output::print_line("add --include-unverified to send the unverified deliveries too")?;
        }
        if self.interrupted {
            return Err(interrupted(format!("interrupted after {} of {total} deliveries", self.done)));
        }
        if let Some(advice) = stats.advice {
            let results = stats.failed.iter().map(|(result, count)| format!("{count} × {result}"));
            let (failed, results) = (sum(&stats.failed), results.collect::<Vec<_>>().join(", "));
            bail!("{failed} of {total} deliveries failed ({results}): {advice}");
        }
        Ok(())
    }

    fn values(&self) -> [(&'static str, Value); 18] {
        let (stats, planned, seconds) = (self.stats, self.planned, self.elapsed.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 deliveries")]
        let rate = stats.sent as f64 / seconds.max(0.000_001);
        let latency = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)].map(|(name, quantile)| {
            let micros = u32::try_from(stats.latency.value_at_quantile(quantile)).unwrap_or(u32::MAX);
            (name.to_owned(), json!(f64::from(micros) / 1_000.0))
        });
        [
            ("events", planned.events.into()),
            ("duplicates", planned.duplicates.into()),
            ("forged", planned.forged.into()),
            ("unverified_not_sent", planned.unverified.into()),
            ("sent", stats.sent.into()),
            ("retries", stats.retries.into()),
            ("accepted", stats.accepted.into()),
            ("duplicates_detected", stats.duplicates.into()),
            ("skipped", json!(stats.skipped)),
            ("rejected", json!(stats.rejected)),
            ("forged_rejected", stats.forged_rejected.into()),
            ("forged_accepted", stats.forged_accepted.into()),
            ("connection_errors", json!(stats.transport_errors)),
            (
                "latency_ms",
                if stats.latency.is_empty() { Value::Null } else { Map::from_iter(latency).into() },
            ),
            ("seconds", seconds.into()),
            ("rate", rate.into()),
            ("failed", sum(&stats.failed).into()),
            ("interrupted", self.interrupted.into()),
        ]
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}
