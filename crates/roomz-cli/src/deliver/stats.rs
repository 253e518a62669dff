use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::client::{ReceiverResponse, TransportError};
use crate::output;

/// Longer latencies are recorded as one hour.
const MAX_LATENCY_MICROS: u64 = 3_600_000_000;

/// How often each text occurred.
type Counts = BTreeMap<String, u64>;

/// What was planned to be sent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct PlannedCounts {
    /// Distinct events, or saved deliveries.
    pub(crate) events: u64,
    /// Events sent twice.
    pub(crate) duplicates: u64,
    pub(crate) forged: u64,
    /// Saved deliveries whose signature was wrong.
    pub(crate) unverified_not_sent: u64,
}

impl PlannedCounts {
    pub(super) fn deliveries(&self) -> u64 {
        self.events + self.duplicates + self.forged
    }
}

/// The results of the attempts. The names of the members are those of the report.
#[derive(Debug, Default, Serialize)]
pub(super) struct Stats {
    #[serde(flatten)]
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
    connection_errors: Counts,
    /// Failed deliveries by the result of their last attempt.
    #[serde(skip)]
    failed: Counts,
    /// What the user can do about the first failed delivery.
    #[serde(skip)]
    advice: Option<&'static str>,
    /// The last response, such as `200 (duplicate)`, and its latency.
    #[serde(skip)]
    pub(super) last_answer: Option<(String, Duration)>,
    /// Microseconds from sending to the end of the response. [`Stats::new`] sets it.
    #[serde(skip)]
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
                *self.connection_errors.entry(error.cause.clone()).or_default() += 1;
                return false;
            }
        };
        self.last_answer = Some((response.label(), elapsed));
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(MAX_LATENCY_MICROS));
        }
        if response.is_accepted() {
            self.accepted += 1;
            if let Some(skipped) = response.skipped.clone() {
                *self.skipped.entry(skipped).or_default() += 1;
            }
            return !forged;
        }
        *self.rejected.entry(response.label()).or_default() += 1;
        forged && response.status == 401
    }

    /// Counts a delivery that is not retried again, with the result of its last attempt.
    pub(super) fn record_failure(&mut self, result: &Result<ReceiverResponse, TransportError>, forged: bool) {
        let mut text = result.as_ref().map_or_else(|error| error.cause.clone(), ReceiverResponse::label);
        if forged {
            text += " to a forged delivery";
        }
        *self.failed.entry(text).or_default() += 1;
        self.advice.get_or_insert(match result {
            Err(error) => error.advice,
            Ok(_) if forged => "the receiver must answer 401 to a wrong signature",
            Ok(response) => response.advice(),
        });
    }

    /// Prints the report: one line for the answer to a single delivery, which is named. Fails when a delivery
    /// failed, and ends the program when the run was interrupted.
    pub(super) fn report(
        &self,
        single: Option<&str>,
        elapsed: Duration,
        interrupted: bool,
        as_json: bool,
    ) -> Result<()> {
        let total = self.planned.deliveries();
        match (single.filter(|_| !as_json), &self.last_answer) {
            (Some(single), Some((answer, time))) => {
                output::print_line(&format!("{single}: {answer} in {time:.2?}"))?;
            }
            // The error says why there is no answer.
            (Some(_), None) => (),
            _ => output::print_values(&self.values(elapsed)?, as_json)?,
        }
        if interrupted {
            let done = self.sent - self.retries;
            output::print_error(&format!("interrupted after {done} of {total} deliveries"));
            // The convention of shells for SIGINT.
            std::process::exit(130);
        }
        if let Some(advice) = self.advice {
            let results = self.failed.iter().map(|(result, count)| format!("{count} × {result}"));
            let (results, failed) = (results.collect::<Vec<_>>(), self.failed.values().sum::<u64>());
            bail!("{failed} of {total} deliveries failed ({}): {advice}", results.join(", "));
        }
        Ok(())
    }

    fn values(&self, elapsed: Duration) -> Result<Value> {
        let (seconds, value) = (elapsed.as_secs_f64(), serde_json::to_value(self)?);
        let mut values: Map<String, Value> = serde_json::from_value(value)?;
        let latency = self.latency.as_ref().filter(|latency| !latency.is_empty());
        let latency = latency.map_or(Value::Null, |latency| {
            let milliseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0;
            let quantiles = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];
            quantiles.map(|(name, quantile)| (name, milliseconds(quantile))).into_iter().collect()
        });
        values.insert("latency_ms".to_owned(), latency);
        values.insert("seconds".to_owned(), seconds.into());
        values.insert("rate".to_owned(), (self.sent as f64 / seconds.max(0.000_001)).into());
        values.insert("failed".to_owned(), self.failed.values().sum::<u64>().into());
        Ok(values.into())
    }
}
