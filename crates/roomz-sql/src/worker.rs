use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roomz_webhook::store::StoreError;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backend::{Execute, ExecuteAll, Failure};
use crate::queue::{Batch, Entry, Queue, Queued};

/// An idle connection is tested this often, so that a firewall keeps it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// The first pause before an operation tries again to lock a row. It doubles with each further attempt, up to the maximum.
const LOCK_BACKOFF_MIN: Duration = Duration::from_millis(100);
const LOCK_BACKOFF_MAX: Duration = Duration::from_millis(400);
/// The pause before a batch tries again while another process writes to an SQLite file.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The pause after the first failed attempt to connect. It doubles with each further failure.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The workers of a store. Each owns one connection, and executes the operations that wait.
///
/// While the connections are busy, operations accumulate, and the next free worker executes them in one transaction.
#[derive(Debug)]
pub(crate) struct Workers {
    queue: Arc<Queue>,
}

impl Workers {
    /// Spawns the workers. They end when this is dropped, after the operations that wait.
    pub(crate) fn spawn<B: ExecuteAll>(backend: B, count: u32, timeouts: Timeouts) -> Self {
        let queue = Arc::new(Queue::default());
        let shared = Arc::new(Shared {
            backend,
            queue: Arc::clone(&queue),
            timeouts,
            open: AtomicUsize::new(0),
            reconnect: AsyncMutex::new(Reconnect { failures: 0, not_before: Instant::now() }),
            suspect_before: Mutex::new(None),
        });
        for _ in 0..count {
            let worker = Worker::new(&queue);
            let shared = Arc::clone(&shared);
            drop(tokio::spawn(async move {
                run(&shared).await;
                drop(worker);
            }));
        }
        Self { queue }
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Counts a worker until it is dropped: also when its runtime shuts down, and when it panics.
struct Worker(Arc<Queue>);

impl Worker {
    fn new(queue: &Arc<Queue>) -> Self {
        queue.add_worker();
        Self(Arc::clone(queue))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.remove_worker();
    }
}

/// The timeouts of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

/// What the workers share.
struct Shared<B> {
    backend: B,
    queue: Arc<Queue>,
    timeouts: Timeouts,
    /// The number of workers that have a connection.
    open: AtomicUsize,
    /// Held while a worker connects, so that one worker at a time tries to reach a failed server.
    reconnect: AsyncMutex<Reconnect>,
    /// A statement that was sent then broke its connection or got no reply. A connection without a reply since then is
    /// replaced before its next use.
    suspect_before: Mutex<Option<Instant>>,
}

struct Reconnect {
    failures: u32,
    not_before: Instant,
}

struct Open<C> {
    connection: C,
    last_reply: Instant,
}

async fn run<B: ExecuteAll>(shared: &Shared<B>) {
    let (mut current, mut last_batch_len) = (None, 0);
    loop {
        match timeout(KEEPALIVE_INTERVAL, shared.queue.wait()).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                shared.keep_alive(&mut current).await;
                continue;
            }
        }
        if shared.connect_if_needed(&mut current).await.is_err() {
            continue;
        }
        if last_batch_len > 1 {
            // The callers of the last batch run first: their next operations then fit into the same transaction.
            tokio::task::yield_now().await;
        }
        let batch = shared.queue.take();
        last_batch_len = batch.as_ref().map_or(0, Batch::len);
        match batch {
            Some(Batch::Settlements(entries)) => shared.execute(&mut current, entries).await,
            Some(Batch::Claims(entries)) => shared.execute(&mut current, entries).await,
            Some(Batch::Purge(entries)) => shared.execute(&mut current, entries).await,
            None => {}
        }
    }
    if let Some(Open { connection, .. }) = current {
        let _ = timeout(shared.timeouts.response, shared.backend.close(connection)).await;
    }
}

impl<B: ExecuteAll> Shared<B> {
    /// Replaces a suspect connection, and connects if there is none. On a failure, the operations that wait fail too,
    /// unless another worker has a connection.
    async fn connect_if_needed(&self, current: &mut Option<Open<B::Connection>>) -> Result<(), ()> {
        if self.is_suspect(current.as_ref()) {
            self.abandon(current);
        }
        if current.is_some() {
            return Ok(());
        }
        // Another worker may have a connection and wait.
        self.queue.wake_worker();
        let mut reconnect = self.reconnect.lock().await;
        sleep_until(reconnect.not_before).await;
        let open = self.open.load(Ordering::Relaxed);
        let connected = timeout(self.timeouts.connect, self.backend.connect(open)).await;
        let error = match connected {
            Ok(Ok(connection)) => {
                *current = Some(Open { connection, last_reply: Instant::now() });
                self.open.fetch_add(1, Ordering::Relaxed);
                reconnect.failures = 0;
                return Ok(());
            }
            Ok(Err(error)) => Some(Arc::new(error)),
            Err(_) => None,
        };
        let backoff = BACKOFF_MIN.saturating_mul(1 << reconnect.failures.min(10)).min(BACKOFF_MAX);
        reconnect.failures += 1;
        reconnect.not_before = Instant::now() + backoff;
        if self.open.load(Ordering::Relaxed) == 0 {
            self.queue.fail_all(|| match &error {
                Some(error) => StoreError::unavailable(Arc::clone(error)),
                None => StoreError::timed_out(),
            });
        }
        Err(())
    }

    /// Executes the operations of one batch, and replies to their callers.
    async fn execute<O: Queued>(&self, current: &mut Option<Open<B::Connection>>, entries: Vec<Entry<O>>)
    where
        B: Execute<O>,
    {
        // Another worker may have put these operations back a moment ago, when its connection broke.
        if self.is_suspect(current.as_ref()) {
            self.abandon(current);
        }
        let is_locked_retry = entries.first().is_some_and(|entry| entry.times_locked > 0);
        let Some(Open { connection, last_reply }) = current else {
            if is_locked_retry {
                self.queue.end_locked_retry();
                return self.queue.push_locked(entries);
            }
            return self.queue.push_front(entries);
        };
        let operations: Vec<_> = entries.iter().map(|entry| &entry.operation).collect();
        let sent = Instant::now();
        let result = timeout(self.timeouts.response, self.backend.execute(connection, &operations)).await;
        if is_locked_retry {
            self.queue.end_locked_retry();
        }
        let Ok(result) = result else {
            self.suspect_connections(current, sent);
            return entries.into_iter().for_each(|entry| entry.reply(Err(StoreError::timed_out())));
        };
        let error = match result {
            Ok(outcomes) => {
                *last_reply = Instant::now();
                return entries
                    .into_iter()
                    .zip(outcomes)
                    .for_each(|(entry, outcome)| entry.reply(Ok(outcome)));
            }
            Err(error) => error,
        };
        let failure = self.backend.classify(&error);
        let error = Arc::new(error);
        match failure {
            Failure::Broken => {
                self.suspect_connections(current, sent);
                self.retry_or_fail(entries, &error);
            }
            Failure::Busy => self.execute_later(entries, BUSY_RETRY_INTERVAL, Queue::push_front),
            Failure::Locked | Failure::Rejected if entries.len() > 1 => {
                let was_rolled_back = matches!(*error, sqlx::Error::Database(_));
                self.split(entries, &error, was_rolled_back);
            }
            Failure::Locked => self.execute_locked_later(entries),
            Failure::Rejected => fail(entries, &error),
        }
    }

    /// Executes the operations again in two batches, so that at last the operation that fails is alone.
    fn split<O: Queued>(&self, entries: Vec<Entry<O>>, error: &Arc<sqlx::Error>, was_rolled_back: bool) {
        let max_batch = entries.len().div_ceil(2);
        let (mut split, failed): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| was_rolled_back || entry.operation.is_retry_safe());
        split.iter_mut().for_each(|entry| entry.max_batch = max_batch);
        fail(failed, error);
        self.queue.push_front(split);
    }

    fn execute_locked_later<O: Queued>(&self, mut entries: Vec<Entry<O>>) {
        let times = entries.iter().map(|entry| entry.times_locked).max().unwrap_or_default();
        entries.iter_mut().for_each(|entry| entry.times_locked += 1);
        let pause = LOCK_BACKOFF_MIN.saturating_mul(1 << times.min(10)).min(LOCK_BACKOFF_MAX);
        self.execute_later(entries, pause, Queue::push_locked);
    }

    fn execute_later<O: Queued>(
        &self,
        entries: Vec<Entry<O>>,
        pause: Duration,
        push: impl FnOnce(&Queue, Vec<Entry<O>>) + Send + 'static,
    ) {
        let queue = Arc::clone(&self.queue);
        drop(tokio::spawn(async move {
            sleep(pause).await;
            push(&queue, entries);
        }));
    }

    /// Executes each operation once more if that cannot change its outcome.
    fn retry_or_fail<O: Queued>(&self, entries: Vec<Entry<O>>, error: &Arc<sqlx::Error>) {
        let (mut retried, failed): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.operation.is_retry_safe() && !entry.is_retry);
        retried.iter_mut().for_each(|entry| entry.is_retry = true);
        fail(failed, error);
        if !retried.is_empty() {
            self.queue.push_front(retried);
        }
    }

    /// Returns whether a connection must be replaced before its next use.
    fn is_suspect(&self, open: Option<&Open<B::Connection>>) -> bool {
        let suspect_before = *self.suspect_before.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_some_and(|open| suspect_before.is_some_and(|time| open.last_reply < time))
    }

    /// Gives up this connection, and all connections without a reply since then: what broke this one may have broken them.
    fn suspect_connections(&self, current: &mut Option<Open<B::Connection>>, since: Instant) {
        let mut suspect_before = self.suspect_before.lock().unwrap_or_else(PoisonError::into_inner);
        *suspect_before = (*suspect_before).max(Some(since));
        drop(suspect_before);
        self.abandon(current);
    }

    fn abandon(&self, current: &mut Option<Open<B::Connection>>) {
        if let Some(open) = current.take() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.backend.abandon(open.connection);
        }
    }

    /// Tests an idle connection. The next operation replaces one that failed.
    async fn keep_alive(&self, current: &mut Option<Open<B::Connection>>) {
        let Some(Open { connection, last_reply }) = current else { return };
        match timeout(self.timeouts.response, self.backend.ping(connection)).await {
            Ok(Ok(())) => *last_reply = Instant::now(),
            _ => self.abandon(current),
        }
    }
}

fn fail<O: Queued>(entries: Vec<Entry<O>>, error: &Arc<sqlx::Error>) {
    entries.into_iter().for_each(|entry| entry.reply(Err(StoreError::unavailable(Arc::clone(error)))));
}
