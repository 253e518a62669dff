use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::out::{self, BAD, FAINT, GOOD};
use crate::tally::Tally;

/// What became of all deliveries.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) took: Duration,
    pub(crate) total: u64,
    pub(crate) done: u64,
    pub(crate) interrupted: bool,
}

/// What was to be delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planned {
    /// Distinct events, or saved deliveries.
    pub(crate) events: u64,
    pub(crate) duplicates: u64,
    pub(crate) forged: u64,
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

impl Report {
    /// Prints the table or the JSON, and fails when something was not as it should be.
    pub(crate) fn end(&self, planned: Planned, as_json: bool) -> Result<(), Failure> {
        if as_json {
            out::line(&self.json(planned).to_string())?;
        } else {
            out::write(self.table(planned).as_bytes())?;
        }
        if self.interrupted {
            return Err(Failure::interrupted(format!(
                "interrupted after {} of {} deliveries",
                self.done, self.total
            )));
        }
        self.failure().map_or(Ok(()), Err)
    }

    fn failure(&self) -> Option<Failure> {
        let failed: u64 = self.tally.failed.values().sum();
        let (most, _) = self.tally.failed.iter().max_by_key(|(_, number)| **number)?;
        let outcomes: Vec<_> =
            self.tally.failed.iter().map(|(outcome, number)| format!("{number} × {outcome}")).collect();
        Some(Failure::failed(format!(
            "{failed} of {} deliveries not answered as they should ({}): {}",
            self.total,
            outcomes.join(", "),
            advice(most)
        )))
    }

    fn table(&self, planned: Planned) -> String {
        let tally = &self.tally;
        let mut table = Table::default();
        table.row("events", planned.events, "");
        if planned.duplicates + planned.forged + tally.retries > 0 {
            let more =
                format!("{} twice, {} forged, {} retries", planned.duplicates, planned.forged, tally.retries);
            table.row("sent", tally.sent, &more);
        } else {
            table.row("sent", tally.sent, "");
        }
        table.row("2xx", tally.accepted, "");
        table.row("duplicates recognised", tally.duplicates, "");
        for (skipped, number) in tally.skipped.iter().filter(|(skipped, _)| *skipped != "duplicate") {
            table.row(&format!("  {skipped}"), *number, "");
        }
        table.row("refused", tally.refused.values().sum::<u64>(), "");
        for ((status, reason), number) in &tally.refused {
            table.row(format!("  {status} {reason}").trim_end(), *number, "");
        }
        if planned.forged > 0 {
            table.row("forged refused with 401", tally.forged_refused, "");
            table.row("forged accepted", tally.forged_accepted, "");
        }
        table.row("connection errors", tally.unanswered.values().sum::<u64>(), "");
        for (why, number) in &tally.unanswered {
            table.row(&format!("  {}", crate::text::safe(why)), *number, "");
        }
        if !tally.latency.is_empty() {
            let times: Vec<_> = PERCENTILES
                .iter()
                .map(|(name, _)| format!("{name} {}", duration(self.microseconds(name))))
                .collect();
            table.line("latency", &times.join("   "));
        }
        table.line("rate", &format!("{:.0} per second ({})", self.rate(), duration(self.took.as_micros())));
        let failed: u64 = tally.failed.values().sum();
        let style = if failed == 0 { GOOD } else { BAD };
        let word = if failed == 0 && !self.interrupted {
            "all as they should".to_owned()
        } else {
            format!("{failed} failed")
        };
        table.line("deliveries", &format!("{style}{word}{style:#}"));
        table.0
    }

    fn json(&self, planned: Planned) -> Value {
        let tally = &self.tally;
        let refused: Vec<_> = tally
            .refused
            .iter()
            .map(|((status, reason), number)| {
                let reason = if reason.is_empty() { Value::Null } else { json!(reason) };
                json!({ "status": status, "reason": reason, "count": number })
            })
            .collect();
        let unanswered: Vec<_> =
            tally.unanswered.iter().map(|(why, number)| json!({ "error": why, "count": number })).collect();
        let latency = PERCENTILES.iter().map(|(name, _)| {
            #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
            let milliseconds = self.microseconds(name) as f64 / 1_000.0;
            ((*name).to_owned(), json!(milliseconds))
        });
        json!({
            "events": planned.events,
            "sent_twice": planned.duplicates,
            "sent": tally.sent,
            "retries": tally.retries,
            "accepted": tally.accepted,
            "duplicates_recognised": tally.duplicates,
            "skipped": tally.skipped,
            "refused": refused,
            "forged": {
                "sent": planned.forged, "refused": tally.forged_refused, "accepted": tally.forged_accepted,
            },
            "connection_errors": unanswered,
            "failed": tally.failed.values().sum::<u64>(),
            "interrupted": self.interrupted,
            "latency_ms": if tally.latency.is_empty() { Value::Null } else { Value::Object(latency.collect()) },
            "seconds": self.took.as_secs_f64(),
            "rate": self.rate(),
        })
    }

    fn microseconds(&self, percentile: &str) -> u128 {
        let quantile =
            PERCENTILES.iter().find(|(name, _)| *name == percentile).map_or(1.0, |(_, quantile)| *quantile);
        self.tally.latency.value_at_quantile(quantile).into()
    }

    fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "of a number of deliveries that nobody sends")]
        let sent = self.tally.sent as f64;
        sent / self.took.as_secs_f64().max(0.000_001)
    }
}

#[derive(Default)]
struct Table(String);

impl Table {
    fn row(&mut self, label: &str, number: u64, more: &str) {
        let more = if more.is_empty() { String::new() } else { format!("   {FAINT}{more}{FAINT:#}") };
        let _ = writeln!(self.0, "{label:<24}{number:>12}{more}");
    }

    fn line(&mut self, label: &str, text: &str) {
        let _ = writeln!(self.0, "{label:<26}{text}");
    }
}

fn duration(microseconds: u128) -> String {
    #[expect(clippy::cast_precision_loss, reason = "rounded in any case")]
    let milliseconds = microseconds as f64 / 1_000.0;
    if milliseconds < 1_000.0 {
        format!("{milliseconds:.2} ms")
    } else {
        format!("{:.2} s", milliseconds / 1_000.0)
    }
}

/// What to do about the most frequent outcome.
fn advice(outcome: &str) -> &'static str {
    match outcome.split(' ').next().unwrap_or_default() {
        _ if outcome.ends_with("forged one") => "the receiver must answer 401 to a wrong signature",
        _ if outcome.contains("Too many open files") => "raise `ulimit -n`, or lower --connections",
        "401" => "compare the secret with the receiver's",
        "404" | "405" => "see the path of the URL",
        "503" => "see the receiver's log, and try --retry",
        status if status.starts_with('5') => "see the receiver's log",
        status if status.starts_with(|c: char| c.is_ascii_digit()) => "the reason is the receiver's",
        _ => "see that the receiver runs, and raise --timeout if it is slow",
    }
}
