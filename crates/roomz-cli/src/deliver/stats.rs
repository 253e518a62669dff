use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::response::{ReceiverResponse, advice};
use crate::client::TransportError;
use crate::output::{self, format_duration};

/// The most keys of one map: a receiver that returns a new reason each time must not exhaust the memory.
const MAX_KEYS: usize = 100;
/// Longer latencies are recorded as one hour.
const MAX_LATENCY_MICROS: u64 = 3_600_000_000;

/// How often each text occurred.
type Counts = BTreeMap<String, u64>;

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
    pub(super) fn deliveries(&self) -> u64 {
        self.events + self.duplicates + self.forged
    }
}

/// The results of the attempts.
#[derive(Debug, Default)]
pub(super) struct Stats {
    planned: PlannedCounts,
    /// All attempts, with retries.
    sent: u64,
    pub(super) retries: u64,
    /// Responses with a 2xx status and without `grpc-status`.
    accepted: u64,
    /// 2xx responses by their header `roomz-webhook-skipped`.
    skipped: Counts,
    /// Other responses by status and reason.
    rejected: Counts,
    transport_errors: Counts,
    forged_accepted: u64,
    /// Failed deliveries by the result of their last attempt.
    failed: Counts,
    /// What the user can do about the first failed delivery.
    advice: Option<&'static str>,
    /// The last response, such as `200 (duplicate)`, and its latency.
    pub(super) last_answer: Option<(String, Duration)>,
    /// Microseconds from sending to the end of the response. [`Stats::new`] sets it.
    latency: Option<Histogram<u64>>,
}

impl Stats {
    pub(super) fn new(planned: PlannedCounts) -> Result<Self> {
        let latency = Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, 3)?;
        Ok(Self { planned, latency: Some(latency), ..Self::default() })
    }

    /// Counts an attempt. True for 2xx to a correctly signed delivery, and for 401 to a forged one.
    pub(super) fn record_attempt(
        &mut self,
        result: &Result<ReceiverResponse, TransportError>,
        elapsed: Duration,
        forged: bool,
    ) -> bool {
        self.sent += 1;
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                count(&mut self.transport_errors, error.cause.clone());
                return false;
            }
        };
        self.last_answer = Some((response.label(), elapsed));
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(MAX_LATENCY_MICROS));
        }
        if response.is_accepted() {
            self.accepted += 1;
            response.skipped.iter().for_each(|skipped| count(&mut self.skipped, skipped.clone()));
            self.forged_accepted += u64::from(forged);
            return !forged;
        }
        count(&mut self.rejected, response.label());
        forged && response.status == 401
    }

    /// Counts a delivery that is not retried again, with the result of its last attempt.
    pub(super) fn record_failure(&mut self, result: &Result<ReceiverResponse, TransportError>, forged: bool) {
        let mut text = result.as_ref().map_or_else(|error| error.cause.clone(), ReceiverResponse::label);
        if forged {
            text += " to a forged delivery";
        }
        count(&mut self.failed, text);
        self.advice.get_or_insert_with(|| advice(result, forged));
    }

    /// Prints the report: one line for a single delivery, which is named. Fails when a delivery failed, and
    /// ends the program when the run was interrupted after so many deliveries.
    pub(super) fn report(
        &self,
        single: Option<&str>,
        elapsed: Duration,
        interrupted_after: Option<u64>,
        as_json: bool,
    ) -> Result<()> {
        let total = self.planned.deliveries();
        if let (Some(single), Some((answer, time)), false) = (single, &self.last_answer, as_json) {
            output::print_line(&format!("{single}: {answer} in {}", format_duration(*time)))?;
        } else {
            output::print_values(&self.values(elapsed, interrupted_after.is_some()), as_json)?;
        }
        if self.planned.unverified > 0 && !as_json {
            output::print_line("add --include-unverified to send the unverified deliveries too")?;
        }
        if let Some(done) = interrupted_after {
            output::print_error(&format!("interrupted after {done} of {total} deliveries"));
            // The convention of shells for SIGINT.
            std::process::exit(130);
        }
        if let Some(advice) = self.advice {
            let results = self.failed.iter().map(|(result, count)| format!("{count} × {result}"));
            let (failed, results) = (sum(&self.failed), results.collect::<Vec<_>>().join(", "));
            bail!("{failed} of {total} deliveries failed ({results}): {advice}");
        }
        Ok(())
    }

    fn values(&self, elapsed: Duration, interrupted: bool) -> [(&'static str, Value); 16] {
        let (planned, seconds) = (self.planned, elapsed.as_secs_f64());
        let rate = self.sent as f64 / seconds.max(0.000_001);
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
        let latency = self.latency.as_ref().filter(|latency| !latency.is_empty()).map(|latency| {
            quantiles.into_iter().map(|(name, quantile)| {
                let micros = u32::try_from(latency.value_at_quantile(quantile)).unwrap_or(u32::MAX);
                (name.to_owned(), json!(f64::from(micros) / 1_000.0))
            })
        });
        [
            ("events", planned.events.into()),
            ("duplicates", planned.duplicates.into()),
            ("forged", planned.forged.into()),
            ("unverified_not_sent", planned.unverified.into()),
            ("sent", self.sent.into()),
            ("retries", self.retries.into()),
            ("accepted", self.accepted.into()),
            ("skipped", json!(self.skipped)),
            ("rejected", json!(self.rejected)),
            ("forged_accepted", self.forged_accepted.into()),
            ("connection_errors", json!(self.transport_errors)),
            ("latency_ms", latency.map(Map::from_iter).into()),
            ("seconds", seconds.into()),
            ("rate", rate.into()),
            ("failed", sum(&self.failed).into()),
            ("interrupted", interrupted.into()),
        ]
    }
}

/// A text that is new to a full map counts as `(others)`.
fn count(counts: &mut Counts, text: String) {
    let is_counted = counts.len() < MAX_KEYS || counts.contains_key(&text);
    *counts.entry(if is_counted { text } else { "(others)".to_owned() }).or_default() += 1;
}

fn sum(counts: &Counts) -> u64 {
    counts.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_reasons_is_bounded() {
        let mut counts = Counts::new();
        for number in 0..50_000 {
            count(&mut counts, format!("401 reason {number}"));
        }
        assert_eq!(counts.len(), MAX_KEYS + 1);
        assert_eq!(counts.values().sum::<u64>(), 50_000);
    }
}
