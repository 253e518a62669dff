use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};

use super::response::{ReceiverResponse, advice};
use crate::client::TransportError;

/// The most keys of one map: a receiver that returns a new reason each time must not exhaust the memory.
const MAX_KEYS: usize = 100;
/// Longer latencies are recorded as one hour.
const MAX_LATENCY_MICROS: u64 = 3_600_000_000;

/// How often each text occurred.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The results of the attempts.
#[derive(Debug)]
pub(crate) struct Stats {
    /// All attempts, with retries.
    pub(crate) sent: u64,
    pub(crate) retries: u64,
    /// Responses with a 2xx status and without `grpc-status`.
    pub(crate) accepted: u64,
    /// 2xx responses by their header `roomz-webhook-skipped`.
    pub(crate) skipped: Counts,
    pub(crate) duplicates: u64,
    /// Other responses by status and reason.
    pub(crate) rejected: Counts,
    pub(crate) transport_errors: Counts,
    pub(crate) forged_rejected: u64,
    pub(crate) forged_accepted: u64,
    /// Failed deliveries by the result of their last attempt.
    pub(crate) failed: Counts,
    /// What the user can do about the first failed delivery.
    pub(crate) advice: Option<&'static str>,
    /// The last response, such as `200 (duplicate)`.
    pub(crate) last_answer: Option<String>,
    /// Microseconds from sending to the end of the response.
    pub(crate) latency: Histogram<u64>,
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
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self {
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
            advice: None,
            last_answer: None,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, 3)?,
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
            Err(error) => {
                count(&mut self.transport_errors, error.cause.clone());
                return Outcome::Unexpected;
            }
        };
        let skipped = response.skipped.as_ref().map(|skipped| format!(" ({skipped})"));
        self.last_answer = Some(response.label() + &skipped.unwrap_or_default());
        self.latency.saturating_record(u64::try_from(elapsed.as_micros()).unwrap_or(MAX_LATENCY_MICROS));
        if response.is_accepted() {
            self.accepted += 1;
            self.duplicates += u64::from(response.is_duplicate());
            if let Some(skipped) = &response.skipped {
                count(&mut self.skipped, skipped.clone());
            }
            self.forged_accepted += u64::from(forged);
            return if forged { Outcome::ForgeryAccepted } else { Outcome::Expected };
        }
        count(&mut self.rejected, response.label());
        let is_expected = forged && response.status == 401;
        self.forged_rejected += u64::from(is_expected);
        if is_expected { Outcome::Expected } else { Outcome::Unexpected }
    }

    /// Counts a delivery that is not retried again, with the result of its last attempt.
    pub(crate) fn record_failure(&mut self, result: &Result<ReceiverResponse, TransportError>, forged: bool) {
        let mut text = result.as_ref().map_or_else(|error| error.cause.clone(), ReceiverResponse::label);
        if forged {
            text += " to a forged delivery";
        }
        count(&mut self.failed, text);
        self.advice.get_or_insert_with(|| advice(result, forged));
    }
}

/// A text that is new to a full map counts as `(others)`.
fn count(counts: &mut Counts, text: String) {
    let is_counted = counts.len() < MAX_KEYS || counts.contains_key(&text);
    *counts.entry(if is_counted { text } else { "(others)".to_owned() }).or_default() += 1;
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
