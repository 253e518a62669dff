use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::answer::Answer;
use crate::client::Unanswered;

/// A receiver that makes up a new reason for each answer does not fill the memory.
const DISTINCT: usize = 100;
/// In microseconds: longer answers are counted as this long.
const LONGEST: u64 = 3_600_000_000;

/// How often something happened.
pub(crate) type Counts<K> = BTreeMap<K, u64>;

/// What became of deliveries. Each connection has its own; they are added up at the end.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Every time that a delivery was tried.
    pub(crate) sent: u64,
    pub(crate) retries: u64,
    pub(crate) accepted: u64,
    /// By the value of `roomz-webhook-skipped`.
    pub(crate) skipped: Counts<String>,
    pub(crate) duplicates: u64,
    /// By status and reason.
    pub(crate) refused: Counts<(u16, String)>,
    pub(crate) unanswered: Counts<String>,
    pub(crate) forged_refused: u64,
    pub(crate) forged_accepted: u64,
    /// Deliveries given up, by their last outcome.
    pub(crate) failed: Counts<String>,
    /// In microseconds, from sending to the end of the answer.
    pub(crate) latency: Histogram<u64>,
}

/// How a delivery that was tried ended, as far as the next step depends on it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    AsItShould,
    Accepted,
    Other,
}

impl Tally {
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            sent: 0,
            retries: 0,
            accepted: 0,
            skipped: Counts::new(),
            duplicates: 0,
            refused: Counts::new(),
            unanswered: Counts::new(),
            forged_refused: 0,
            forged_accepted: 0,
            failed: Counts::new(),
            latency: Histogram::new_with_bounds(1, LONGEST, 3).ok()?,
        })
    }

    /// Counts one try.
    pub(crate) fn count(
        &mut self,
        result: &Result<Answer, Unanswered>,
        took: Duration,
        forged: bool,
    ) -> Outcome {
        self.sent += 1;
        let answer = match result {
            Ok(answer) => answer,
            Err(Unanswered(why)) => {
                add(&mut self.unanswered, why.clone(), 1);
                return Outcome::Other;
            }
        };
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        self.latency.saturating_record(microseconds);
        if answer.status.is_success() {
            self.accepted += 1;
            self.duplicates += u64::from(answer.is_duplicate());
            if let Some(skipped) = &answer.skipped {
                add(&mut self.skipped, skipped.clone(), 1);
            }
            self.forged_accepted += u64::from(forged);
            if forged { Outcome::Accepted } else { Outcome::AsItShould }
        } else {
            let status = answer.status.as_u16();
            add(&mut self.refused, (status, answer.reason.clone().unwrap_or_default()), 1);
            let right = forged && status == 401;
            self.forged_refused += u64::from(right);
            if right { Outcome::AsItShould } else { Outcome::Other }
        }
    }

    /// Counts a delivery that is not tried any more.
    pub(crate) fn give_up(&mut self, result: &Result<Answer, Unanswered>, forged: bool) {
        let mut text = match result {
            Err(Unanswered(why)) => why.clone(),
            Ok(answer) => {
                let status = answer.status.as_u16().to_string();
                [&status, answer.reason.as_deref().unwrap_or_default()].join(" ").trim_end().to_owned()
            }
        };
        if forged {
            text += " to a forged one";
        }
        add(&mut self.failed, text, 1);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.retries += other.retries;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.forged_refused += other.forged_refused;
        self.forged_accepted += other.forged_accepted;
        merge(&mut self.skipped, other.skipped);
        merge(&mut self.refused, other.refused);
        merge(&mut self.unanswered, other.unanswered);
        merge(&mut self.failed, other.failed);
        // Both have the same bounds.
        let _ = self.latency.add(&other.latency);
    }
}

/// What a key becomes when there are too many others.
trait OneOfMany {
    fn rest(self) -> Self;
}

impl OneOfMany for String {
    fn rest(self) -> Self {
        "(others)".to_owned()
    }
}

impl OneOfMany for (u16, String) {
    fn rest(self) -> Self {
        (self.0, self.1.rest())
    }
}

fn add<K: Ord + OneOfMany>(counts: &mut Counts<K>, key: K, number: u64) {
    let key = if counts.len() < DISTINCT || counts.contains_key(&key) { key } else { key.rest() };
    *counts.entry(key).or_default() += number;
}

fn merge<K: Ord + OneOfMany>(counts: &mut Counts<K>, others: Counts<K>) {
    for (key, number) in others {
        add(counts, key, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_cannot_fill_the_memory_with_reasons() {
        let mut counts = Counts::new();
        for number in 0..50_000_u16 {
            add(&mut counts, (400 + number % 3, format!("reason {number}")), 1);
        }
        assert!(counts.len() <= DISTINCT + 3);
        assert_eq!(counts.values().sum::<u64>(), 50_000);
    }
}
