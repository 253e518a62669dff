use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roomz_webhook::store::StoreError;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::operation::{ClaimOperation, Operation, Purge, Settlement};

/// The most operations in one statement. More would make a statement slower than the response timeout allows.
const MAX_BATCH: usize = 128;
/// A purge that has waited for this long goes before claims and settlements.
const PURGE_WAIT_MAX: Duration = Duration::from_millis(100);
/// While other operations wait, one batch in this many is an operation whose row was locked.
const LOCKED_ONE_IN: usize = 4;

/// The operations that wait for a worker.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    settlements: Lane<Settlement>,
    claims: Lane<ClaimOperation>,
    purges: VecDeque<Entry<Purge>>,
    batches_taken: usize,
    /// A worker executes an operation whose row was locked. Only one does, so that locked rows leave the others free.
    is_retrying_locked: bool,
    workers: usize,
    is_closed: bool,
}

/// The waiting operations of one type.
#[derive(Debug)]
pub(crate) struct Lane<O: Operation> {
    entries: VecDeque<Entry<O>>,
    /// Operations whose row was locked when they were executed alone.
    locked: VecDeque<Entry<O>>,
}

/// An operation, and the caller that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Entry<O: Operation> {
    pub(crate) operation: O,
    reply: oneshot::Sender<Result<O::Outcome, StoreError>>,
    queued: Instant,
    /// A connection broke while it executed the operation.
    pub(crate) is_retry: bool,
    /// The most operations in its batch. Smaller after a batch with it failed.
    pub(crate) max_batch: usize,
    /// How often the row was locked when the operation was executed alone.
    pub(crate) times_locked: u32,
}

/// The operations that one statement executes.
#[derive(Debug)]
pub(crate) enum Batch {
    Settlements(Vec<Entry<Settlement>>),
    Claims(Vec<Entry<ClaimOperation>>),
    Purge(Vec<Entry<Purge>>),
}

/// An operation type that the queue holds.
pub(crate) trait Queued: Operation + Sized {
    fn add(waiting: &mut Waiting, entry: Entry<Self>);
    fn add_front(waiting: &mut Waiting, entry: Entry<Self>);
    fn add_locked(waiting: &mut Waiting, entry: Entry<Self>);
}

macro_rules! queued {
    ($operation:ty, $lane:ident) => {
        impl Queued for $operation {
            fn add(waiting: &mut Waiting, entry: Entry<Self>) {
                waiting.$lane.entries.push_back(entry);
            }

            fn add_front(waiting: &mut Waiting, entry: Entry<Self>) {
                waiting.$lane.entries.push_front(entry);
            }

            fn add_locked(waiting: &mut Waiting, entry: Entry<Self>) {
                waiting.$lane.locked.push_back(entry);
            }
        }
    };
}

queued!(Settlement, settlements);
queued!(ClaimOperation, claims);

impl Queued for Purge {
    fn add(waiting: &mut Waiting, entry: Entry<Self>) {
        waiting.purges.push_back(entry);
    }

    fn add_front(waiting: &mut Waiting, entry: Entry<Self>) {
        waiting.purges.push_front(entry);
    }

    fn add_locked(waiting: &mut Waiting, entry: Entry<Self>) {
        waiting.purges.push_back(entry);
    }
}

impl Queue {
    /// Adds an operation, and returns the receiver of its outcome. A caller that drops the receiver gives up: an operation
    /// that no worker took is then not executed. Without a worker, the receiver fails at once.
    pub(crate) fn push<O: Queued>(&self, operation: O) -> oneshot::Receiver<Result<O::Outcome, StoreError>> {
        let (reply, outcome) = oneshot::channel();
        let (queued, max_batch) = (Instant::now(), MAX_BATCH);
        let entry = Entry { operation, reply, queued, is_retry: false, max_batch, times_locked: 0 };
        let mut waiting = self.waiting();
        if waiting.workers > 0 {
            O::add(&mut waiting, entry);
        }
        drop(waiting);
        self.wake_worker();
        outcome
    }

    /// Puts operations back at the front, in their order.
    pub(crate) fn push_front<O: Queued>(&self, entries: Vec<Entry<O>>) {
        let mut waiting = self.waiting();
        entries.into_iter().rev().for_each(|entry| O::add_front(&mut waiting, entry));
        drop(waiting);
        self.wake_worker();
    }

    /// Puts an operation back whose row was locked.
    pub(crate) fn push_locked<O: Queued>(&self, entries: Vec<Entry<O>>) {
        let mut waiting = self.waiting();
        entries.into_iter().for_each(|entry| O::add_locked(&mut waiting, entry));
        drop(waiting);
        self.wake_worker();
    }

    /// Wakes the worker that began to wait last. So one connection executes all operations that come one at a time.
    pub(crate) fn wake_worker(&self) {
        self.notify.notify_last();
    }

    /// Waits until an operation waits. Returns `false` when the queue is closed and empty.
    pub(crate) async fn wait(&self) -> bool {
        loop {
            let notified = self.notify.notified();
            {
                let mut waiting = self.waiting();
                waiting.remove_abandoned();
                if waiting.has_next() {
                    return true;
                }
                if waiting.is_closed {
                    return false;
                }
            }
            notified.await;
        }
    }

    /// Takes the operations of the next statement. Settlements come before claims: they free waiting duplicates and
    /// handlers.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut waiting = self.waiting();
        waiting.remove_abandoned();
        let batch = waiting.take();
        let has_next = waiting.has_next();
        drop(waiting);
        if has_next {
            self.wake_worker();
        }
        batch
    }

    /// Call this after an operation whose row was locked before was executed again.
    pub(crate) fn end_locked_retry(&self) {
        self.waiting().is_retrying_locked = false;
        self.wake_worker();
    }

    /// Fails every waiting operation.
    pub(crate) fn fail_all(&self, error: impl Fn() -> StoreError) {
        let (settlements, claims, purges) = self.waiting().take_all();
        settlements.into_iter().for_each(|entry| entry.reply(Err(error())));
        claims.into_iter().for_each(|entry| entry.reply(Err(error())));
        purges.into_iter().for_each(|entry| entry.reply(Err(error())));
    }

    /// Ends the workers once they executed the operations that wait.
    pub(crate) fn close(&self) {
        self.waiting().is_closed = true;
        self.notify.notify_waiters();
    }

    pub(crate) fn add_worker(&self) {
        self.waiting().workers += 1;
    }

    /// Call this when a worker ends, for whatever reason. The callers of the last one fail.
    pub(crate) fn remove_worker(&self) {
        let mut waiting = self.waiting();
        waiting.workers -= 1;
        if waiting.workers == 0 {
            drop(waiting.take_all());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type All = (VecDeque<Entry<Settlement>>, VecDeque<Entry<ClaimOperation>>, VecDeque<Entry<Purge>>);

impl Waiting {
    fn take(&mut self) -> Option<Batch> {
        self.batches_taken = self.batches_taken.wrapping_add(1);
        if self.purges.front().is_some_and(|purge| purge.queued.elapsed() >= PURGE_WAIT_MAX) {
            return Some(Batch::Purge(self.purges.pop_front().into_iter().collect()));
        }
        let is_idle = self.settlements.entries.is_empty() && self.claims.entries.is_empty();
        if !self.is_retrying_locked && (is_idle || self.batches_taken.is_multiple_of(LOCKED_ONE_IN)) {
            let settlement = self.settlements.locked.pop_front().map(|one| Batch::Settlements(vec![one]));
            let locked =
                settlement.or_else(|| self.claims.locked.pop_front().map(|one| Batch::Claims(vec![one])));
            self.is_retrying_locked = locked.is_some();
            if locked.is_some() {
                return locked;
            }
        }
        if !self.settlements.entries.is_empty() {
            return Some(Batch::Settlements(take_batch(&mut self.settlements.entries)));
        }
        if !self.claims.entries.is_empty() {
            return Some(Batch::Claims(take_batch(&mut self.claims.entries)));
        }
        self.purges.pop_front().map(|purge| Batch::Purge(vec![purge]))
    }

    /// Whether an operation can be taken now.
    fn has_next(&self) -> bool {
        let has_locked = !self.settlements.locked.is_empty() || !self.claims.locked.is_empty();
        !self.settlements.entries.is_empty()
            || !self.claims.entries.is_empty()
            || !self.purges.is_empty()
            || (has_locked && !self.is_retrying_locked)
    }

    /// Removes the first operations of each queue whose callers gave up.
    fn remove_abandoned(&mut self) {
        remove_abandoned(&mut self.settlements.entries);
        remove_abandoned(&mut self.settlements.locked);
        remove_abandoned(&mut self.claims.entries);
        remove_abandoned(&mut self.claims.locked);
        remove_abandoned(&mut self.purges);
    }

    fn take_all(&mut self) -> All {
        let take = |lane: &mut Lane<Settlement>| lane.take_all();
        (take(&mut self.settlements), self.claims.take_all(), std::mem::take(&mut self.purges))
    }
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Settlements(entries) => entries.len(),
            Self::Claims(entries) => entries.len(),
            Self::Purge(entries) => entries.len(),
        }
    }
}

impl<O: Operation> Lane<O> {
    fn take_all(&mut self) -> VecDeque<Entry<O>> {
        let mut all = std::mem::take(&mut self.entries);
        all.append(&mut self.locked);
        all
    }
}

impl<O: Operation> Default for Lane<O> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), locked: VecDeque::new() }
    }
}

fn remove_abandoned<O: Operation>(queue: &mut VecDeque<Entry<O>>) {
    while queue.front().is_some_and(|entry| entry.reply.is_closed()) {
        queue.pop_front();
    }
}

/// Takes the first operation, and those behind it that fit into the same statement.
fn take_batch<O: Operation>(queue: &mut VecDeque<Entry<O>>) -> Vec<Entry<O>> {
    let Some(first) = queue.pop_front() else { return Vec::new() };
    if queue.is_empty() || first.max_batch == 1 {
        return vec![first];
    }
    let mut limit = first.max_batch;
    let mut keys: HashSet<_> = first.operation.key().cloned().into_iter().collect();
    let (mut batch, mut skipped) = (vec![first], Vec::new());
    while batch.len() < limit {
        let Some(entry) = queue.pop_front() else { break };
        if entry.reply.is_closed() {
            continue;
        }
        let fits = entry.max_batch > batch.len();
        match entry.operation.key() {
            Some(key) if fits && keys.insert(key.clone()) => {
                limit = limit.min(entry.max_batch);
                batch.push(entry);
            }
            _ => skipped.push(entry),
        }
    }
    skipped.into_iter().rev().for_each(|entry| queue.push_front(entry));
    batch
}

impl<O: Operation> Entry<O> {
    pub(crate) fn reply(self, outcome: Result<O::Outcome, StoreError>) {
        // The caller may have given up.
        let _ = self.reply.send(outcome);
    }
}
