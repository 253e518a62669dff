//! Plans the deliveries of `send` and their order: distinct events, duplicates, out-of-order events and
//! forgeries.
//!
//! Memory use does not grow with the number of events. A duplicate is built and signed again from a
//! [`PlannedEvent`], which determines its bytes; only the events that wait for their duplicate are kept.

use std::collections::BTreeSet;

use roomz_protocol::{Timestamp, Uuid};

use crate::deliver::PlannedCounts;

/// A late duplicate is sent this many deliveries after the first one, or at the end.
const LATE_DUPLICATE_DISTANCE: u64 = 100;

/// What determines the bytes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlannedEvent {
    /// From 0; distinct.
    pub(super) number: u64,
    pub(super) id: Uuid,
    /// Index in the list of workspaces.
    pub(super) workspace: usize,
    /// Unix time in milliseconds.
    pub(super) timestamp_ms: i64,
    pub(super) forged: bool,
}

/// The options of `send` that determine a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlanOptions {
    pub(super) count: u64,
    pub(super) duplicates: f64,
    pub(super) out_of_order: f64,
    pub(super) forged: f64,
    pub(super) workspaces: usize,
    /// The timestamp of all events; `None` means now.
    pub(super) timestamp_ms: Option<i64>,
}

/// The deliveries of one run, produced one by one.
#[derive(Debug)]
pub(super) struct Plan {
    counts: PlannedCounts,
    out_of_order: u64,
    timestamp_ms: Option<i64>,
    /// Index of the next delivery.
    position: u64,
    /// Number of the next event or forgery.
    next_number: u64,
    /// Events planned so far, without duplicates and forgeries.
    events: u64,
    forged_due: u64,
    out_of_order_due: u64,
    /// Events to send again, by the position at which they are due.
    pending_duplicates: BTreeSet<(u64, PlannedEvent)>,
    /// Duplicates scheduled so far.
    duplicates: u64,
    /// The timestamp of the last event of each workspace.
    last_timestamps: Vec<Option<i64>>,
}

impl Plan {
    pub(super) fn new(options: PlanOptions) -> Self {
        let fraction_of_count = |fraction| fraction_of(options.count, fraction);
        Self {
            counts: PlannedCounts {
                events: options.count,
                duplicates: fraction_of_count(options.duplicates),
                forged: fraction_of_count(options.forged),
                unverified: 0,
            },
            out_of_order: fraction_of_count(options.out_of_order),
            timestamp_ms: options.timestamp_ms,
            position: 0,
            next_number: 0,
            events: 0,
            forged_due: 0,
            out_of_order_due: 0,
            pending_duplicates: BTreeSet::new(),
            duplicates: 0,
            last_timestamps: vec![None; options.workspaces],
        }
    }

    pub(super) fn counts(&self) -> PlannedCounts {
        self.counts
    }

    fn new_event(&mut self, forged: bool) -> PlannedEvent {
        let number = self.next_number;
        self.next_number += 1;
        let workspace = usize::try_from(number % self.last_timestamps.len() as u64).unwrap_or_default();
        let now = self.timestamp_ms.unwrap_or_else(|| Timestamp::now().as_millisecond());
        let mut timestamp_ms = now;
        if !forged && let Some(last) = self.last_timestamps.get_mut(workspace) {
            timestamp_ms = match *last {
                // The first event of a workspace has no earlier event to be older than.
                Some(previous) if self.out_of_order_due > 0 => {
                    self.out_of_order_due -= 1;
                    previous - 1
                }
                // If the clock was set back, `now` alone would make the event out of order.
                Some(previous) => now.max(previous),
                None => now,
            };
            *last = Some(timestamp_ms);
        }
        // Not `Uuid::new_v4`, which asks the operating system each time.
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        PlannedEvent { number, id, workspace, timestamp_ms, forged }
    }
}

impl Iterator for Plan {
    type Item = PlannedEvent;

    fn next(&mut self) -> Option<PlannedEvent> {
        let position = self.position;
        self.position += 1;
        let all_planned = self.events == self.counts.events && self.forged_due == 0;
        if all_planned || self.pending_duplicates.first().is_some_and(|(due, _)| *due <= position) {
            return self.pending_duplicates.pop_first().map(|(_, event)| event);
        }
        if self.forged_due > 0 {
            self.forged_due -= 1;
            return Some(self.new_event(true));
        }
        let index = self.events;
        self.events += 1;
        let is_one_of = |selected| is_selected(index, selected, self.counts.events);
        let is_duplicated = is_one_of(self.counts.duplicates);
        self.forged_due += u64::from(is_one_of(self.counts.forged));
        self.out_of_order_due += u64::from(is_one_of(self.out_of_order));
        let event = self.new_event(false);
        if is_duplicated {
            // Every other duplicate comes at once, while the first delivery may be in flight; the others come
            // after the first delivery has been completed.
            let distance = if self.duplicates.is_multiple_of(2) { 1 } else { LATE_DUPLICATE_DISTANCE };
            self.duplicates += 1;
            self.pending_duplicates.insert((position + distance, event));
        }
        Some(event)
    }
}

/// Returns the fraction of `count`, rounded to a whole number.
fn fraction_of(count: u64, fraction: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the fraction is from 0 to 1, and the count is at most 10^12"
    )]
    let number = (count as f64 * fraction).round() as u64;
    number.min(count)
}

/// Whether the item at `index` is one of `selected` items that are spread evenly over `count`.
fn is_selected(index: u64, selected: u64, count: u64) -> bool {
    let selected_before = |index: u64| u128::from(index) * u128::from(selected) / u128::from(count.max(1));
    selected_before(index + 1) > selected_before(index)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn options(count: u64) -> PlanOptions {
        let (duplicates, out_of_order, forged) = (0.0, 0.0, 0.0);
        PlanOptions { count, duplicates, out_of_order, forged, workspaces: 10, timestamp_ms: None }
    }

    fn all_events(options: PlanOptions) -> Vec<PlannedEvent> {
        Plan::new(options).collect()
    }

    #[test]
    fn fractions_are_exact_for_any_count() {
        for (count, fraction, number) in
            [(1, 1.0, 1), (1, 0.0, 0), (7, 0.5, 4), (1000, 0.2, 200), (1003, 0.001, 1)]
        {
            let events = all_events(PlanOptions { duplicates: fraction, forged: fraction, ..options(count) });
            assert_eq!(events.len() as u64, count + 2 * number, "{count} × {fraction}");
            let mut times = BTreeMap::<_, u64>::new();
            for event in events.iter().filter(|event| !event.forged) {
                *times.entry(*event).or_default() += 1;
            }
            assert_eq!(times.len() as u64, count);
            assert_eq!(times.values().filter(|times| **times == 2).count() as u64, number);
            assert!(times.values().all(|times| *times <= 2));
            let numbers: BTreeSet<_> = events.iter().map(|event| event.number).collect();
            assert_eq!(numbers.len() as u64, count + number, "each forgery has its own number");
            let ids: BTreeSet<_> = events.iter().map(|event| event.id).collect();
            assert_eq!(ids.len(), numbers.len());
            assert!(ids.iter().all(|id| id.get_version_num() == 4));
        }
    }

    #[test]
    fn selected_events_are_spread_evenly() {
        let events = all_events(PlanOptions { forged: 0.1, ..options(1_000) });
        for hundred in events.chunks(110) {
            assert_eq!(hundred.iter().filter(|event| event.forged).count(), 10);
        }
    }

    #[test]
    fn half_of_duplicates_are_immediate() {
        let events = all_events(PlanOptions { duplicates: 0.1, ..options(1_000) });
        let mut first_positions = BTreeMap::new();
        let mut distances = Vec::new();
        for (position, event) in events.iter().enumerate() {
            if let Some(first) = first_positions.insert(*event, position) {
                distances.push(position - first);
            }
        }
        assert_eq!(distances.iter().filter(|distance| **distance < 5).count(), 50);
        // The last late duplicates are sent at the end, after a shorter distance.
        assert!(distances.iter().filter(|distance| **distance >= 50).count() >= 45);
    }

    /// An out-of-order event is older than the event before it in the same workspace. The first event of each
    /// workspace cannot be out of order, so 97 of 100 is the most with three workspaces.
    #[test]
    fn out_of_order_events_are_older_than_previous() {
        for (fraction, expected) in [(0.0, 0), (0.25, 25), (0.9, 90), (1.0, 97)] {
            for timestamp_ms in [None, Some(1_700_000_000_000)] {
                let options =
                    PlanOptions { out_of_order: fraction, workspaces: 3, timestamp_ms, ..options(100) };
                let mut last = BTreeMap::new();
                let mut older = 0;
                for event in all_events(options) {
                    let previous = last.insert(event.workspace, event.timestamp_ms);
                    older += i32::from(previous.is_some_and(|previous| event.timestamp_ms < previous));
                }
                assert_eq!(older, expected, "fraction {fraction}");
            }
        }
    }

    #[test]
    fn workspaces_are_used_in_turn() {
        let events = all_events(PlanOptions { workspaces: 3, ..options(9) });
        let workspaces: Vec<_> = events.iter().map(|event| event.workspace).collect();
        assert_eq!(workspaces, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }
}
