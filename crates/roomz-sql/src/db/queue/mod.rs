mod waiting;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::Error;
use tokio::sync::{Notify, oneshot};

use crate::db::queue::waiting::Waiting;
use crate::db::statement::{Lane, Statement};
use crate::db::value::{Row, Value};

/// The most operations in one statement. More would make a statement slower than the response timeout allows.
const MAX_BATCH: usize = 128;

/// A statement to execute with one row of parameters. Operations with the same statement are executed
/// together.
#[derive(Debug)]
pub struct Operation {
    pub statement: &'static Statement,
    /// The first two are the key, if the statement has a form for many rows.
    pub values: Vec<Value>,
    /// Whether it may run again if its connection broke before the result arrived. The database may have
    /// executed it.
    pub is_retry_safe: bool,
}

/// Why an operation failed.
#[derive(Clone, Debug)]
pub enum Failed {
    TimedOut,
    Database(Arc<Error>),
    /// The tokio runtime of the connections was shut down.
    RuntimeEnded,
}

/// The rows that belong to one operation.
pub(crate) type Outcome = Result<Vec<Row>, Failed>;

/// An operation, and the caller that waits for its outcome.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) lane: Lane,
    reply: oneshot::Sender<Outcome>,
    /// How often a connection broke while it executed the operation.
    pub(crate) retries: u32,
    /// The most operations in its batch. Smaller after a batch with it failed.
    pub(crate) max_batch: usize,
    /// How often the row was locked when the operation was executed alone.
    pub(crate) times_locked: u32,
}

/// The operations that wait for a worker.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

impl Queue {
    /// Adds an operation, and returns the receiver of its outcome. A caller that drops the receiver gives up:
    /// an operation that no worker took is then not executed.
    pub(crate) fn push(&self, operation: Operation) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        let lane = operation.statement.lane;
        let entry = Entry { operation, lane, reply, retries: 0, max_batch: MAX_BATCH, times_locked: 0 };
        self.push_back([entry]);
        outcome
    }

    /// Puts operations back at the front, in their order.
    pub(crate) fn push_front(&self, entries: Vec<Entry>) {
        let mut waiting = self.waiting();
        entries.into_iter().rev().for_each(|entry| waiting.lane(entry.lane).push_front(entry));
        drop(waiting);
        self.wake_worker();
    }

    /// Puts operations behind those that wait.
    pub(crate) fn push_back(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut waiting = self.waiting();
        entries.into_iter().for_each(|entry| waiting.lane(entry.lane).push_back(entry));
        drop(waiting);
        self.wake_worker();
    }

    /// Wakes the worker that began to wait last. So one connection executes all operations that come one at a
    /// time.
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

    /// Takes the operations of the next statement.
    pub(crate) fn take(&self) -> Vec<Entry> {
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

    /// Call this after a batch of the background lane.
    pub(crate) fn end_background(&self) {
        self.waiting().is_background_taken = false;
        self.wake_worker();
    }

    /// Fails every waiting operation.
    pub(crate) fn fail_all(&self, failed: &Failed) {
        let all = self.waiting().take_all();
        all.into_iter().for_each(|entry| entry.reply(Err(failed.clone())));
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

impl Operation {
    /// The namespace and the event id.
    pub(crate) fn key(&self) -> &[Value] {
        self.values.get(..2).unwrap_or_default()
    }
}

impl Entry {
    pub(crate) fn reply(self, outcome: Outcome) {
        // The caller may have given up.
        let _ = self.reply.send(outcome);
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<Failed> for Arc<Error> {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Database(error) => error,
            Failed::TimedOut => Self::new(Error::PoolTimedOut),
            Failed::RuntimeEnded => Self::new(Error::PoolClosed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "indices of the test")]
mod tests {
    use super::*;
    use crate::db::dialect::Dialect;

    fn statement(lane: Lane) -> &'static Statement {
        let (one, many) = (String::new(), Some(String::new()));
        Box::leak(Box::new(Statement {
            one,
            many,
            columns: vec!["namespace".to_owned(), "event_id".to_owned()],
            lane,
            is_confidential: false,
            otherwise: None,
        }))
    }

    fn entry(statement: &'static Statement, key: usize, max_batch: usize) -> Entry {
        let values = vec![Value::from("roomz"), Value::from(&*key.to_string())];
        let operation = Operation { statement, values, is_retry_safe: true };
        let (reply, outcome) = oneshot::channel();
        // Its caller waits for ever.
        Box::leak(Box::new(outcome));
        Entry { operation, lane: statement.lane, reply, retries: 0, max_batch, times_locked: 0 }
    }

    /// Takes all batches of these entries. Returns the keys of each.
    fn batches(entries: Vec<Entry>) -> Vec<Vec<Value>> {
        let queue = Queue::default();
        queue.push_back(entries);
        let keys = |batch: Vec<Entry>| batch.iter().map(|entry| entry.operation.key()[1].clone()).collect();
        std::iter::repeat_with(|| queue.take()).take_while(|batch| !batch.is_empty()).map(keys).collect()
    }

    fn keys(batches: &[&[usize]]) -> Vec<Vec<Value>> {
        let text = |key: &usize| Value::from(&*key.to_string());
        batches.iter().map(|batch| batch.iter().map(text).collect()).collect()
    }

    #[test]
    fn batch_holds_what_fits_into_one_statement() {
        let (a, b) = (statement(Lane::Normal), statement(Lane::Normal));
        let all = |max_batch, keys: &[usize]| keys.iter().map(|key| entry(a, *key, max_batch)).collect();
        // A statement cannot write a row twice.
        assert_eq!(batches(all(MAX_BATCH, &[1, 2, 1, 3, 2])), keys(&[&[1, 2, 3], &[1, 2]]));
        assert_eq!(batches(all(2, &[1, 2, 3, 4, 5])), keys(&[&[1, 2], &[3, 4], &[5]]));
        assert_eq!(batches(all(1, &[1, 2])), keys(&[&[1], &[2]]));
        // The smallest maximum of its operations.
        let smaller =
            |max_batch| vec![entry(a, 1, 9), entry(a, 2, max_batch), entry(a, 3, 9), entry(a, 4, 9)];
        assert_eq!(batches(smaller(1)), keys(&[&[1, 3, 4], &[2]]));
        assert_eq!(batches(smaller(2)), keys(&[&[1, 2], &[3, 4]]));
        assert_eq!(batches(smaller(3)), keys(&[&[1, 2, 3], &[4]]));
        let mixed = vec![entry(a, 1, 9), entry(b, 2, 9), entry(a, 3, 9), entry(b, 4, 9)];
        assert_eq!(batches(mixed), keys(&[&[1, 3], &[2, 4]]));
        let one =
            Box::leak(Box::new(Statement { many: None, ..Statement::single(Dialect::Sqlite, "", &[]) }));
        assert_eq!(batches(vec![entry(one, 1, 9), entry(one, 2, 9)]), keys(&[&[1], &[2]]));
    }

    #[test]
    fn abandoned_operation_is_not_executed() {
        let queue = Queue::default();
        let push = |key| queue.push(entry(statement(Lane::Normal), key, 1).operation);
        drop(push(1));
        assert!(queue.take().is_empty());
        let shared = statement(Lane::Normal);
        let push = |key| queue.push(entry(shared, key, 1).operation);
        let (first, abandoned, last) = (push(1), push(2), push(3));
        drop(abandoned);
        assert_eq!(queue.take().len(), 2);
        drop((first, last));
    }

    #[test]
    fn background_is_one_batch_in_eight() {
        let queue = Queue::default();
        let [normal, background] = [Lane::Normal, Lane::Background].map(statement);
        queue.push_back((0..20).map(|key| entry(normal, key, 1)));
        queue.push_back((0..3).map(|key| entry(background, key, 1)));
        let next = || queue.take().pop().map(|entry| entry.lane);
        let lanes: Vec<_> = (0..16).map(|_| next().unwrap_or(Lane::First)).collect();
        // The second one waits for the end of the first.
        let expected = |at| if at == 7 { Lane::Background } else { Lane::Normal };
        assert_eq!(lanes, (0..16).map(expected).collect::<Vec<_>>());
        assert!((0..5).all(|_| next() == Some(Lane::Normal)));
        assert_eq!(next(), None);
        queue.end_background();
        assert_eq!(queue.take()[0].lane, Lane::Background);
    }
}
