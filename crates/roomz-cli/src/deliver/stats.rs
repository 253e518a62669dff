use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::advice::advice;
use super::response::ReceiverResponse;
use crate::client::TransportError;

/// The most keys of one map: a receiver that returns a new reason each time must not exhaust the memory.
const MAX_KEYS: usize = 100;
/// Longer latencies are recorded as one hour.
const MAX_LATENCY_MICROS: u64 = 3_600_000_000;

/// How often each key occurred.
pub(crate) type Counts<K> = BTreeMap<K, u64>;

/// The results of the attempts. Each connection has its own; [`merge`](Self::merge) adds them up.
#[derive(Debug)]
pub(crate) struct Stats {
    /// All attempts, with retries.
    pub(crate) sent: u64,
    pub(crate) retries: u64,
    /// Responses with a 2xx status and without `grpc-status`.
    pub(crate) accepted: u64,
    /// 2xx responses by their header `roomz-webhook-skipped`.
    pub(crate) skipped: Counts<String>,
    pub(crate) duplicates: u64,
    /// Other responses by status and reason.
    pub(crate) rejected: Counts<(u16, String)>,
    pub(crate) transport_errors: Counts<String>,
    pub(crate) forged_rejected: u64,
    pub(crate) forged_accepted: u64,
    /// Failed deliveries by the result of their last attempt.
    pub(crate) failed: Counts<Failure>,
    /// Microseconds from sending to the end of the response.
    pub(crate) latency: Histogram<u64>,
}

/// The result of the last attempt of a failed delivery.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    /// The status and the reason, or the cause of a connection error.
    pub(crate) result: String,
    /// What the user can do about it.
    pub(crate) advice: &'static str,
}

/// The result of an attempt, as far as the next step depends on it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 2xx for a correctly signed delivery, 401 for a forged one.
    Expected,
    /// 2xx for a forged delivery.
    ForgeryAccepted,
    /// Anything else, also no response.
    Unexpected,
}

impl Stats {
    /// Returns `None` if the bounds of the histogram are invalid, which is a bug.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            sent: 0,
            retries: 0,
            accepted: 0,
            skipped: Counts::new(),
            duplicates: 0,
            rejected: Counts::new(),
            transport_errors: Counts::new(),
            forged_rejected: 0,
            forged_accepted: 0,
            failed: Counts::new(),
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, 3).ok()?,
        })
    }

    pub(crate) fn record_attempt(
        &mut self,
        result: &Result<ReceiverResponse, TransportError>,
        elapsed: Duration,
        forged: bool,
    ) -> Outcome {
        self.sent += 1;
        let response = match result {
            Ok(response) => response,
            Err(TransportError { cause, .. }) => {
                add(&mut self.transport_errors, cause.clone(), 1);
                return Outcome::Unexpected;
            }
        };
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(MAX_LATENCY_MICROS);
        self.latency.saturating_record(micros);
        if response.is_accepted() {
            self.accepted += 1;
            self.duplicates += u64::from(response.is_duplicate());
            if let Some(skipped) = &response.skipped {
                add(&mut self.skipped, skipped.clone(), 1);
            }
            self.forged_accepted += u64::from(forged);
            if forged { Outcome::ForgeryAccepted } else { Outcome::Expected }
        } else {
            let status = response.status.as_u16();
            add(&mut self.rejected, (status, response.reason.clone().unwrap_or_default()), 1);
            let expected = forged && status == 401;
            self.forged_rejected += u64::from(expected);
            if expected { Outcome::Expected } else { Outcome::Unexpected }
        }
    }

    /// Counts a delivery that is not retried again, with the result of its last attempt.
    pub(crate) fn record_failure(&mut self, result: &Result<ReceiverResponse, TransportError>, forged: bool) {
        let mut text = match result {
            Err(error) => error.cause.clone(),
            Ok(response) => {
                let status = response.status.as_u16().to_string();
                [&status, response.reason.as_deref().unwrap_or_default()].join(" ").trim_end().to_owned()
            }
        };
        if forged {
            text += " to a forged delivery";
        }
        add(&mut self.failed, Failure { result: text, advice: advice(result, forged) }, 1);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.retries += other.retries;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.forged_rejected += other.forged_rejected;
        self.forged_accepted += other.forged_accepted;
        merge(&mut self.skipped, other.skipped);
        merge(&mut self.rejected, other.rejected);
        merge(&mut self.transport_errors, other.transport_errors);
        merge(&mut self.failed, other.failed);
        // Cannot fail, because both histograms have the same bounds.
        let _ = self.latency.add(&other.latency);
    }
}

/// A key that has a substitute once a map is full.
trait CountKey: Ord {
    fn overflow(self) -> Self;
}

impl CountKey for String {
    fn overflow(self) -> Self {
        "(others)".to_owned()
    }
}

impl CountKey for Failure {
    fn overflow(self) -> Self {
        Self { result: self.result.overflow(), ..self }
    }
}

impl CountKey for (u16, String) {
    fn overflow(self) -> Self {
        (self.0, self.1.overflow())
    }
}

fn add<K: CountKey>(counts: &mut Counts<K>, key: K, number: u64) {
    let key = if counts.len() < MAX_KEYS || counts.contains_key(&key) { key } else { key.overflow() };
    *counts.entry(key).or_default() += number;
}

fn merge<K: CountKey>(counts: &mut Counts<K>, others: Counts<K>) {
    for (key, number) in others {
        add(counts, key, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_reasons_is_bounded() {
        let mut counts = Counts::new();
        for number in 0..50_000_u16 {
            add(&mut counts, (400 + number % 3, format!("reason {number}")), 1);
        }
        assert!(counts.len() <= MAX_KEYS + 3);
        assert_eq!(counts.values().sum::<u64>(), 50_000);
    }
}
