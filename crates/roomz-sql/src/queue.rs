use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use roomz_webhook::store::StoreError;
use tokio::sync::{Notify, oneshot};

use crate::operation::{ClaimOperation, Operation, Purge, Settlement};

/// The most operations in one statement. More would make a statement slower than the response timeout allows.
const MAX_BATCH: usize = 128;

/// The operations that wait for a worker.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    settlements: VecDeque<Entry<Settlement>>,
    claims: VecDeque<Entry<ClaimOperation>>,
    purges: VecDeque<Entry<Purge>>,
    is_closed: bool,
}

/// An operation, and the caller that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Entry<O: Operation> {
    pub(crate) operation: O,
    pub(crate) reply: oneshot::Sender<Result<O::Outcome, StoreError>>,
    /// A connection broke while it executed the operation.
    pub(crate) is_retry: bool,
    /// The operation made a batch fail, or was in such a batch.
    pub(crate) is_alone: bool,
}

/// The operations that one statement executes.
pub(crate) enum Batch {
    Settlements(Vec<Entry<Settlement>>),
    Claims(Vec<Entry<ClaimOperation>>),
    Purge(Vec<Entry<Purge>>),
}

/// An operation type that the queue holds.
pub(crate) trait Queued: Operation + Sized {
    fn queue(waiting: &mut Waiting) -> &mut VecDeque<Entry<Self>>;
}

impl Queued for Settlement {
    fn queue(waiting: &mut Waiting) -> &mut VecDeque<Entry<Self>> {
        &mut waiting.settlements
    }
}

impl Queued for ClaimOperation {
    fn queue(waiting: &mut Waiting) -> &mut VecDeque<Entry<Self>> {
        &mut waiting.claims
    }
}

impl Queued for Purge {
    fn queue(waiting: &mut Waiting) -> &mut VecDeque<Entry<Self>> {
        &mut waiting.purges
    }
}

impl Queue {
    /// Adds an operation, and returns the receiver of its outcome. A caller that drops the receiver gives up: an operation
    /// that no worker took is then not executed.
    pub(crate) fn push<O: Queued>(&self, operation: O) -> oneshot::Receiver<Result<O::Outcome, StoreError>> {
        let (reply, outcome) = oneshot::channel();
        let entry = Entry { operation, reply, is_retry: false, is_alone: false };
        O::queue(&mut self.waiting()).push_back(entry);
        self.notify.notify_one();
        outcome
    }

    /// Puts operations back at the front, in their order.
    pub(crate) fn push_front<O: Queued>(&self, entries: Vec<Entry<O>>) {
        let mut waiting = self.waiting();
        for entry in entries.into_iter().rev() {
            O::queue(&mut waiting).push_front(entry);
        }
        drop(waiting);
        self.notify.notify_one();
    }

    /// Waits until an operation waits. Returns `false` when the queue is closed and empty.
    pub(crate) async fn wait(&self) -> bool {
        loop {
            let notified = self.notify.notified();
            {
                let mut waiting = self.waiting();
                if !waiting.is_empty() {
                    return true;
                }
                if waiting.is_closed {
                    return false;
                }
            }
            notified.await;
        }
    }

    /// Takes the operations of the next statement. Settlements come first: they free waiting duplicates and handlers.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut waiting = self.waiting();
        let batch = if waiting.is_empty() {
            None
        } else if !waiting.settlements.is_empty() {
            Some(Batch::Settlements(take_batch(&mut waiting.settlements)))
        } else if !waiting.claims.is_empty() {
            Some(Batch::Claims(take_batch(&mut waiting.claims)))
        } else {
            Some(Batch::Purge(take_batch(&mut waiting.purges)))
        };
        if !waiting.is_empty() {
            self.notify.notify_one();
        }
        batch
    }

    /// Fails every waiting operation.
    pub(crate) fn fail_all(&self, error: impl Fn() -> StoreError) {
        let mut waiting = self.waiting();
        let (settlements, claims, purges) = (
            std::mem::take(&mut waiting.settlements),
            std::mem::take(&mut waiting.claims),
            std::mem::take(&mut waiting.purges),
        );
        drop(waiting);
        settlements.into_iter().for_each(|entry| entry.reply(Err(error())));
        claims.into_iter().for_each(|entry| entry.reply(Err(error())));
        purges.into_iter().for_each(|entry| entry.reply(Err(error())));
    }

    /// Ends the workers once they executed the operations that wait.
    pub(crate) fn close(&self) {
        self.waiting().is_closed = true;
        self.notify.notify_waiters();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether nothing waits. Removes operations whose caller gave up.
    fn is_empty(&mut self) -> bool {
        drop_abandoned(&mut self.settlements)
            && drop_abandoned(&mut self.claims)
            && drop_abandoned(&mut self.purges)
    }
}

fn drop_abandoned<O: Operation>(queue: &mut VecDeque<Entry<O>>) -> bool {
    while queue.front().is_some_and(|entry| entry.reply.is_closed()) {
        queue.pop_front();
    }
    queue.is_empty()
}

/// Takes the first operation, and those behind it that fit into the same statement.
fn take_batch<O: Operation>(queue: &mut VecDeque<Entry<O>>) -> Vec<Entry<O>> {
    if queue.front().is_some_and(|entry| entry.is_alone || entry.operation.key().is_none()) {
        return queue.pop_front().into_iter().collect();
    }
    if queue.len() == 1 {
        return queue.pop_front().into_iter().collect();
    }
    let mut keys = HashSet::new();
    let (mut batch, mut rest) = (Vec::new(), VecDeque::new());
    while let Some(entry) = queue.pop_front() {
        if entry.reply.is_closed() {
            continue;
        }
        let fits = batch.len() < MAX_BATCH && !entry.is_alone;
        match entry.operation.key() {
            Some(key) if fits && keys.insert(key.clone()) => batch.push(entry),
            _ => rest.push_back(entry),
        }
        if batch.len() == MAX_BATCH {
            break;
        }
    }
    rest.append(queue);
    *queue = rest;
    batch
}

impl<O: Operation> Entry<O> {
    pub(crate) fn reply(self, outcome: Result<O::Outcome, StoreError>) {
        // The caller may have given up.
        let _ = self.reply.send(outcome);
    }
}
