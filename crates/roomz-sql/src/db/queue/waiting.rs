use std::collections::{HashSet, VecDeque};

use crate::db::queue::Entry;
use crate::db::statement::Lane;

/// While other operations wait, one batch in this many is from the background lane.
const BACKGROUND_ONE_IN: usize = 8;

/// The operations that wait, in lanes, and whether a worker has one of the background lane.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    first: VecDeque<Entry>,
    normal: VecDeque<Entry>,
    background: VecDeque<Entry>,
    batches_taken: usize,
    /// A worker executes a batch of the background lane. Only one does, so that locked rows leave the others
    /// free.
    pub(super) is_background_taken: bool,
    pub(super) is_closed: bool,
}

impl Waiting {
    pub(super) const fn lane(&mut self, lane: Lane) -> &mut VecDeque<Entry> {
        match lane {
            Lane::First => &mut self.first,
            Lane::Normal => &mut self.normal,
            Lane::Background => &mut self.background,
        }
    }

    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.batches_taken = self.batches_taken.wrapping_add(1);
        let lanes = if self.batches_taken.is_multiple_of(BACKGROUND_ONE_IN) {
            [Lane::Background, Lane::First, Lane::Normal]
        } else {
            [Lane::First, Lane::Normal, Lane::Background]
        };
        let Some(lane) = lanes.into_iter().find(|lane| self.has_next_in(*lane)) else { return Vec::new() };
        self.is_background_taken |= lane == Lane::Background;
        take_batch(self.lane(lane))
    }

    pub(super) fn has_next(&self) -> bool {
        [Lane::First, Lane::Normal, Lane::Background].into_iter().any(|lane| self.has_next_in(lane))
    }

    fn has_next_in(&self, lane: Lane) -> bool {
        match lane {
            Lane::First => !self.first.is_empty(),
            Lane::Normal => !self.normal.is_empty(),
            Lane::Background => !self.background.is_empty() && !self.is_background_taken,
        }
    }

    /// Removes the first operations of each lane whose callers gave up.
    pub(super) fn remove_abandoned(&mut self) {
        for lane in [&mut self.first, &mut self.normal, &mut self.background] {
            while lane.front().is_some_and(|entry| entry.reply.is_closed()) {
                lane.pop_front();
            }
        }
    }

    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        [&mut self.first, &mut self.normal, &mut self.background]
            .into_iter()
            .flat_map(std::mem::take)
            .collect()
    }
}

/// Takes the first operation, and those behind it that fit into the same statement.
fn take_batch(lane: &mut VecDeque<Entry>) -> Vec<Entry> {
    let Some(first) = lane.pop_front() else { return Vec::new() };
    let statement = first.operation.statement;
    if lane.is_empty() || first.max_batch == 1 || statement.many.is_none() {
        return vec![first];
    }
    let mut limit = first.max_batch;
    // One statement cannot write a row twice, so a batch has each key once.
    let mut keys: HashSet<_> = std::iter::once(first.operation.key().to_vec()).collect();
    let (mut batch, mut skipped) = (vec![first], Vec::new());
    while batch.len() < limit {
        let Some(entry) = lane.pop_front() else { break };
        if entry.reply.is_closed() {
            continue;
        }
        let fits = entry.max_batch > batch.len() && std::ptr::eq(entry.operation.statement, statement);
        if fits && keys.insert(entry.operation.key().to_vec()) {
            limit = limit.min(entry.max_batch);
            batch.push(entry);
        } else {
            skipped.push(entry);
        }
    }
    skipped.into_iter().rev().for_each(|entry| lane.push_front(entry));
    batch
}
