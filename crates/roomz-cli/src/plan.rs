//! Which deliveries `send` makes, in which order: distinct events, some of them twice, some dated back, and forgeries.
//!
//! Nothing is kept but what is still to be repeated: a repeated event is built and signed again from the few numbers
//! that determine it, and is the same byte for byte.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use roomz_protocol::{Timestamp, Uuid};

use crate::report::Planned;

/// A repetition that does not come at once comes after this many other deliveries, or at the end.
const LATER: u64 = 100;

/// What determines an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// From 0; distinct.
    pub(crate) number: u64,
    /// Position in the list of workspaces.
    pub(crate) workspace: usize,
    /// Unix time.
    pub(crate) milliseconds: i64,
    pub(crate) forged: bool,
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    pub(crate) count: u64,
    pub(crate) duplicates: f64,
    pub(crate) out_of_order: f64,
    pub(crate) forged: f64,
    pub(crate) workspaces: usize,
    /// The time of all events, instead of now.
    pub(crate) milliseconds: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Plan {
    wishes: Wishes,
    planned: Planned,
    out_of_order: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    position: u64,
    /// Events and forgeries begun; the number of the next.
    numbers: u64,
    events: u64,
    forged_due: u64,
    back_due: u64,
    repetitions: BinaryHeap<Reverse<(u64, Event)>>,
    repeated: u64,
    /// The time of the last event of each workspace.
    last: Vec<Option<i64>>,
}

impl Plan {
    pub(crate) fn new(wishes: Wishes) -> Self {
        let share = |fraction| share(wishes.count, fraction);
        let planned = Planned {
            events: wishes.count,
            duplicates: share(wishes.duplicates),
            forged: share(wishes.forged),
        };
        let state = State {
            position: 0,
            numbers: 0,
            events: 0,
            forged_due: 0,
            back_due: 0,
            repetitions: BinaryHeap::new(),
            repeated: 0,
            last: vec![None; wishes.workspaces.max(1)],
        };
        Self { wishes, planned, out_of_order: share(wishes.out_of_order), state: Mutex::new(state) }
    }

    pub(crate) fn planned(&self) -> Planned {
        self.planned
    }

    /// The next event to deliver.
    pub(crate) fn next(&self) -> Option<Event> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let position = state.position;
        state.position += 1;
        let is_due = state.repetitions.peek().is_some_and(|Reverse((due, _))| *due <= position);
        if is_due {
            return state.repetition();
        }
        if state.forged_due > 0 {
            state.forged_due -= 1;
            return Some(self.event(&mut state, true));
        }
        if state.events == self.wishes.count {
            return state.repetition();
        }
        let index = state.events;
        state.events += 1;
        let chosen = |of| is_chosen(index, of, self.wishes.count);
        state.forged_due += u64::from(chosen(self.planned.forged));
        state.back_due += u64::from(chosen(self.out_of_order));
        let event = self.event(&mut state, false);
        if chosen(self.planned.duplicates) {
            // In turn: at once, to meet the first while it is handled, and when that is long over.
            let distance = if state.repeated.is_multiple_of(2) { 1 } else { LATER };
            state.repeated += 1;
            state.repetitions.push(Reverse((position + distance, event)));
        }
        Some(event)
    }

    fn event(&self, state: &mut State, forged: bool) -> Event {
        let number = state.numbers;
        state.numbers += 1;
        let workspaces = state.last.len();
        let workspace = usize::try_from(number % workspaces as u64).unwrap_or_default();
        let now = self.wishes.milliseconds.unwrap_or_else(|| Timestamp::now().as_millisecond());
        let mut milliseconds = now;
        if !forged && let Some(last) = state.last.get_mut(workspace) {
            milliseconds = match *last {
                // Only an event that follows another can be older than it.
                Some(before) if state.back_due > 0 => {
                    state.back_due -= 1;
                    before - 1
                }
                // The clock may have been set back.
                Some(before) => now.max(before),
                None => now,
            };
            *last = Some(milliseconds);
        }
        Event { number, workspace, milliseconds, forged }
    }
}

impl State {
    fn repetition(&mut self) -> Option<Event> {
        self.repetitions.pop().map(|Reverse((_, event))| event)
    }
}

/// Distinct ids for the events of one run: random, but for 62 bits that count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ids(u128);

impl Ids {
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// A version 4 UUID; another one for each number below 2⁶².
    pub(crate) fn get(self, number: u64) -> Uuid {
        const LOW: u128 = (1 << 62) - 1;
        // Multiplying by an odd number is a permutation modulo a power of two: what counts does not look like it.
        let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Uuid::from_u128((self.0 & !LOW) | (self.0.wrapping_add(spread) & LOW))
    }
}

/// The number that a fraction is, rounded.
fn share(count: u64, fraction: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the fraction is from 0 to 1, and the count one that can be sent"
    )]
    let number = (count as f64 * fraction).round() as u64;
    number.min(count)
}

/// Whether this one of `count` is among the `share`, which are spread evenly.
fn is_chosen(index: u64, share: u64, count: u64) -> bool {
    let before = |index: u64| u128::from(index) * u128::from(share) / u128::from(count.max(1));
    before(index + 1) > before(index)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn wishes(count: u64) -> Wishes {
        let (duplicates, out_of_order, forged) = (0.0, 0.0, 0.0);
        Wishes { count, duplicates, out_of_order, forged, workspaces: 10, milliseconds: None }
    }

    fn all(wishes: Wishes) -> Vec<Event> {
        let plan = Plan::new(wishes);
        std::iter::from_fn(|| plan.next()).collect()
    }

    #[test]
    fn the_fractions_are_met_exactly_for_any_count() {
        for (count, fraction, number) in
            [(1, 1.0, 1), (1, 0.0, 0), (7, 0.5, 4), (1000, 0.2, 200), (1003, 0.001, 1)]
        {
            let asked = Wishes { duplicates: fraction, forged: fraction, ..wishes(count) };
            let events = all(asked);
            assert_eq!(events.len() as u64, count + 2 * number, "{count} × {fraction}");
            let mut times = BTreeMap::<_, u64>::new();
            for event in events.iter().filter(|event| !event.forged) {
                *times.entry(*event).or_default() += 1;
            }
            assert_eq!(times.len() as u64, count);
            assert_eq!(times.values().filter(|times| **times == 2).count() as u64, number);
            assert!(times.values().all(|times| *times <= 2));
            let numbers: BTreeSet<_> = events.iter().map(|event| event.number).collect();
            assert_eq!(numbers.len() as u64, count + number, "a forgery has an id of its own");
        }
    }

    #[test]
    fn what_is_chosen_is_spread_evenly() {
        let events = all(Wishes { forged: 0.1, ..wishes(1_000) });
        for hundred in events.chunks(110) {
            assert_eq!(hundred.iter().filter(|event| event.forged).count(), 10);
        }
    }

    #[test]
    fn half_of_the_repetitions_follow_at_once_and_half_later() {
        let events = all(Wishes { duplicates: 0.1, ..wishes(1_000) });
        let mut seen = BTreeMap::new();
        let mut distances = Vec::new();
        for (position, event) in events.iter().enumerate() {
            if let Some(first) = seen.insert(*event, position) {
                distances.push(position - first);
            }
        }
        assert_eq!(distances.iter().filter(|distance| **distance < 5).count(), 50);
        // The last ones come at the end, which is sooner.
        assert!(distances.iter().filter(|distance| **distance >= 50).count() >= 45);
    }

    #[test]
    fn the_fraction_out_of_order_is_older_than_one_before_in_its_workspace() {
        for (fraction, number) in [(0.0, 0), (0.25, 25), (0.9, 90), (1.0, 97)] {
            for milliseconds in [None, Some(1_700_000_000_000)] {
                let asked = Wishes { out_of_order: fraction, workspaces: 3, milliseconds, ..wishes(100) };
                let mut last = BTreeMap::new();
                let mut back = 0;
                for event in all(asked) {
                    let before = last.insert(event.workspace, event.milliseconds);
                    back += i32::from(before.is_some_and(|before| event.milliseconds < before));
                }
                assert_eq!(back, number, "{fraction}; the first of each workspace has none to be older than");
            }
        }
    }

    #[test]
    fn workspaces_are_taken_in_turn() {
        let events = all(Wishes { workspaces: 3, ..wishes(9) });
        let workspaces: Vec<_> = events.iter().map(|event| event.workspace).collect();
        assert_eq!(workspaces, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn ids_are_distinct_and_of_version_4() {
        let ids = Ids::new();
        let all: BTreeSet<_> = (0..100_000).map(|number| ids.get(number)).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(|id| id.get_version_num() == 4 && id.get_variant() == uuid::Variant::RFC4122));
        assert_ne!(ids.get(0), Ids::new().get(0));
    }
}
