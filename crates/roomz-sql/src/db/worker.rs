use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::db::backoff::Backoff;
use crate::db::connections::{Connections, Held};
use crate::db::dialect::Dialect;
use crate::db::driver::{Driver, Failure};
use crate::db::queue::{Entry, Failed, Operation, Queue};
use crate::db::settings::Settings;
use crate::db::statement::{Lane, Statement};
use crate::db::value::{Row, Value};

/// An idle connection is tested this often, so that a firewall keeps it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// The pauses before an operation tries again to lock a row.
const LOCK_BACKOFF: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_millis(400) };
/// The pause before a batch tries again while another process writes to an SQLite file.
const BUSY_RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The pauses after failed attempts to connect.
const CONNECT_BACKOFF: Backoff = Backoff { min: Duration::from_millis(50), max: Duration::from_secs(1) };

/// The workers of a store. Each owns one connection, and executes the operations that wait.
///
/// While the connections are busy, operations accumulate, and the next free worker executes them in one
/// statement.
#[derive(derive_more::Debug)]
#[debug("Workers {{ dialect: {dialect:?}, .. }}")]
pub struct Workers {
    /// Of the workers. When the last one has ended, for whatever reason, the callers that wait fail.
    queue: Weak<Queue>,
    dialect: Dialect,
    timeout: Duration,
}

impl Workers {
    /// Spawns the workers. They end when this is dropped, after the operations that wait.
    pub(crate) fn spawn<D: Driver>(connections: Connections<D>, settings: &Settings) -> Self {
        let (queue, count) = (Arc::new(Queue::default()), connections.max);
        let weak = Arc::downgrade(&queue);
        let shared = Arc::new(Shared {
            connections,
            queue,
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
            open: AtomicUsize::new(0),
            reconnect: Mutex::new((0, Instant::now())),
        });
        for _ in 0..count {
            let worker = Worker { shared: Arc::clone(&shared), current: None };
            drop(tokio::spawn(worker.run()));
        }
        Self { queue: weak, dialect: D::DIALECT, timeout: settings.response_timeout * 5 / 4 }
    }

    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Waits until a worker executed the operation, and returns its rows. A caller that gives up does not
    /// cancel the other operations of the batch.
    pub async fn execute(&self, operation: Operation) -> Result<Vec<Row>, Failed> {
        timeout(self.timeout, self.finish(operation)).await.unwrap_or(Err(Failed::TimedOut))
    }

    /// The same without a timeout for the operations before it: after an error, it is not executed later.
    pub async fn finish(&self, operation: Operation) -> Result<Vec<Row>, Failed> {
        let outcome = self.queue.upgrade().map(|queue| queue.push(operation)).ok_or(Failed::RuntimeEnded)?;
        outcome.await.unwrap_or(Err(Failed::RuntimeEnded))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.close();
        }
    }
}

/// What the workers share.
struct Shared<D: Driver> {
    connections: Connections<D>,
    queue: Arc<Queue>,
    connect_timeout: Duration,
    response_timeout: Duration,
    /// The number of workers that have a connection.
    open: AtomicUsize,
    /// The number of failed attempts to connect, and when the next may begin. Held while a worker connects,
    /// so that one worker at a time tries to reach a failed server.
    reconnect: Mutex<(u32, Instant)>,
}

struct Worker<D: Driver> {
    shared: Arc<Shared<D>>,
    current: Option<Open<D>>,
}

struct Open<D: Driver> {
    held: Held<D>,
    last_reply: Instant,
}

impl<D: Driver> Worker<D> {
    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut last_batch_len = 0;
        loop {
            match timeout(KEEPALIVE_INTERVAL, shared.queue.wait()).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    self.keep_alive().await;
                    continue;
                }
            }
            if !self.connect_if_needed().await {
                continue;
            }
            if last_batch_len > 1 {
                // The callers of the last batch run first: their next operations then fit into the same
                // statement.
                tokio::task::yield_now().await;
            }
            let batch = shared.queue.take();
            last_batch_len = batch.len();
            let Some(lane) = batch.first().map(|entry| entry.lane) else { continue };
            self.execute(batch).await;
            if lane == Lane::Background {
                shared.queue.end_background();
            }
        }
        if let Some(Open { held, .. }) = self.current {
            let _ = timeout(shared.response_timeout, shared.connections.close(held)).await;
        }
    }

    /// Replaces a suspect connection, and connects if there is none. On a failure, the operations that wait
    /// fail too, unless another worker has a connection.
    async fn connect_if_needed(&mut self) -> bool {
        self.abandon_if_suspect();
        if self.current.is_some() {
            return true;
        }
        let shared = &self.shared;
        // Another worker may have a connection and wait.
        shared.queue.wake_worker();
        let mut reconnect = shared.reconnect.lock().await;
        let (failures, not_before) = &mut *reconnect;
        sleep_until(*not_before).await;
        let open = shared.open.load(Ordering::Relaxed);
        let failed = match timeout(shared.connect_timeout, shared.connections.open(open)).await {
            Ok(Ok(held)) => {
                self.current = Some(Open { held, last_reply: Instant::now() });
                shared.open.fetch_add(1, Ordering::Relaxed);
                *failures = 0;
                return true;
            }
            Ok(Err(error)) => Failed::Database(Arc::new(error)),
            Err(_) => Failed::TimedOut,
        };
        *failures += 1;
        *not_before = Instant::now() + CONNECT_BACKOFF.after(*failures);
        if shared.open.load(Ordering::Relaxed) == 0 {
            shared.queue.fail_all(&failed);
        }
        false
    }

    /// Executes the operations of one batch, and replies to their callers.
    async fn execute(&mut self, entries: Vec<Entry>) {
        // Another worker may have put these operations back a moment ago, when its connection broke.
        self.abandon_if_suspect();
        let shared = Arc::clone(&self.shared);
        let Some(Open { held, last_reply }) = &mut self.current else {
            return shared.queue.push_front(entries);
        };
        let sent = Instant::now();
        let error = match timeout(shared.response_timeout, fetch(&shared.connections, held, &entries)).await {
            Ok(Ok(outcomes)) => {
                *last_reply = Instant::now();
                return entries.into_iter().zip(outcomes).for_each(|(entry, rows)| entry.reply(Ok(rows)));
            }
            Ok(Err(error)) => error,
            Err(_) => {
                self.suspect_connections(sent);
                return fail(entries, &Failed::TimedOut);
            }
        };
        let failure = D::classify(&error);
        let failed = Failed::Database(Arc::new(error));
        match failure {
            Failure::Broken => {
                self.suspect_connections(sent);
                self.retry_or_fail(entries, &failed);
            }
            Failure::Busy => self.execute_later(entries, BUSY_RETRY_INTERVAL, Queue::push_front),
            Failure::Locked => self.execute_locked_later(entries, &failed),
            Failure::Rejected if entries.len() > 1 => self.split(entries, &failed),
            Failure::Rejected => fail(entries, &failed),
        }
    }

    /// Executes the operations again in two batches, so that at last the operation that fails is alone.
    fn split(&self, entries: Vec<Entry>, failed: &Failed) {
        let max_batch = entries.len().div_ceil(2);
        let was_rolled_back =
            matches!(failed, Failed::Database(error) if error.as_database_error().is_some());
        let (mut split, failing): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| was_rolled_back || entry.operation.is_retry_safe);
        split.iter_mut().for_each(|entry| entry.max_batch = max_batch);
        fail(failing, failed);
        self.shared.queue.push_front(split);
    }

    /// Each attempt takes as long as the lock timeout, so most of them wait for the other operations.
    fn execute_locked_later(&self, mut entries: Vec<Entry>, failed: &Failed) {
        if entries.len() > 1 {
            return self.split(entries, failed);
        }
        for entry in &mut entries {
            entry.lane = Lane::Background;
            entry.times_locked += 1;
        }
        let times = entries.first().map_or(0, |entry| entry.times_locked);
        self.execute_later(entries, LOCK_BACKOFF.after(times), Queue::push_back);
    }

    fn execute_later(&self, entries: Vec<Entry>, pause: Duration, push: fn(&Queue, Vec<Entry>)) {
        let queue = Arc::clone(&self.shared.queue);
        drop(tokio::spawn(async move {
            sleep(pause).await;
            push(&queue, entries);
        }));
    }

    /// Executes each operation once more if that cannot change its outcome.
    fn retry_or_fail(&self, entries: Vec<Entry>, failed: &Failed) {
        let (mut retried, failing): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.operation.is_retry_safe && entry.retries == 0);
        retried.iter_mut().for_each(|entry| entry.retries += 1);
        fail(failing, failed);
        self.shared.queue.push_front(retried);
    }

    fn abandon_if_suspect(&mut self) {
        let suspects = &self.shared.connections.suspects;
        if self.current.as_ref().is_some_and(|open| suspects.contains(open.last_reply)) {
            self.abandon();
        }
    }

    /// Gives up this connection, and all connections without a reply since then.
    fn suspect_connections(&mut self, since: Instant) {
        self.shared.connections.suspects.add(since);
        self.abandon();
    }

    fn abandon(&mut self) {
        if let Some(open) = self.current.take() {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
            self.shared.connections.abandon(open.held);
        }
    }

    /// Tests an idle connection. The next operation replaces one that failed.
    async fn keep_alive(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(Open { held, last_reply }) = &mut self.current else { return };
        match timeout(shared.response_timeout, shared.connections.ping(held)).await {
            Ok(Ok(())) => *last_reply = Instant::now(),
            _ => self.abandon(),
        }
    }
}

fn fail(entries: Vec<Entry>, failed: &Failed) {
    entries.into_iter().for_each(|entry| entry.reply(Err(failed.clone())));
}

/// Executes the statement of a batch, and then its other statement for the operations without a row. Returns
/// the rows of each operation.
async fn fetch<D: Driver>(
    connections: &Connections<D>,
    held: &mut Held<D>,
    entries: &[Entry],
) -> Result<Vec<Vec<Row>>, Error> {
    let mut outcomes = vec![Vec::new(); entries.len()];
    let mut statement: Option<&'static Statement> = entries.first().map(|entry| entry.operation.statement);
    while let Some(current) = statement {
        let mut open: Vec<(&Operation, &mut Vec<Row>)> = entries
            .iter()
            .map(|entry| &entry.operation)
            .zip(&mut outcomes)
            .filter(|(_, rows)| rows.is_empty())
            .collect();
        if open.is_empty() {
            break;
        }
        let values: Vec<&[Value]> = open.iter().map(|(operation, _)| operation.values.as_slice()).collect();
        let rows = connections.fetch(held, current, &values).await?;
        if let [(_, outcome)] = &mut open[..] {
            **outcome = rows;
        } else {
            let mut by_key: HashMap<_, _> =
                open.into_iter().map(|(operation, rows)| (operation.key(), rows)).collect();
            for row in rows {
                let outcome = row.0.get(..2).and_then(|key| by_key.get_mut(key));
                let unknown = || Error::Decode("the database returned an unknown key".into());
                outcome.ok_or_else(unknown)?.push(row);
            }
        }
        statement = current.otherwise.as_deref();
    }
    Ok(outcomes)
}
