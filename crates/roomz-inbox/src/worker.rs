use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::store::Owner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::BoxError;
use crate::attempt::Attempt;
use crate::inbox::Inbox;
use crate::job::Job;
use crate::telemetry;
use crate::worker_builder::WorkerSettings;

/// The interval of the gauges.
const STATS_INTERVAL: Duration = Duration::from_secs(10);
/// The interval at which rows whose retention is over are deleted.
const PURGE_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The pause after a batch of deletions is this many times as long as the batch.
const PURGE_PAUSE_FACTOR: u32 = 9;
/// The shortest pause after a batch of deletions.
const PURGE_PAUSE_MIN: Duration = Duration::from_millis(10);
/// The time for recording what happened to the handlers that a shutdown stopped.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);

/// A running worker. Dropping it stops its handlers.
///
/// Call [`shutdown`](Self::shutdown) before the process ends.
#[derive(Debug)]
pub struct Worker {
    /// No further event is taken.
    stop: CancellationToken,
    /// Running handlers are dropped.
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    pub(crate) fn start<S, T>(inbox: Inbox, service: S, settings: WorkerSettings) -> Self
    where
        S: Service<Job<T>, Response = ()> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        // Stopping does not abort, but aborting stops.
        let abort = CancellationToken::new();
        let dispatcher = Dispatcher {
            inbox: inbox.clone(),
            service,
            settings: Arc::new(settings),
            stop: stop.clone(),
            abort: abort.clone(),
            tasks: tasks.clone(),
        };
        drop(tasks.spawn(dispatcher.run()));
        drop(tasks.spawn(maintain(inbox, stop.clone())));
        Self { stop, abort, tasks }
    }

    /// Stops taking events, waits for running handlers, and gives events back that are not handled by then.
    ///
    /// Handlers that still run after the timeout are dropped. Their attempt counts, and their event is available to other workers
    /// at once.
    ///
    /// ```no_run
    /// # async fn stop(worker: roomz_inbox::Worker) {
    /// worker.shutdown(std::time::Duration::from_secs(20)).await;
    /// # }
    /// ```
    pub async fn shutdown(self, handler_timeout: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(handler_timeout, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            let _ = timeout(SETTLE_TIMEOUT, self.tasks.wait()).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

/// Takes events and starts their handlers.
struct Dispatcher<S> {
    inbox: Inbox,
    service: S,
    settings: Arc<WorkerSettings>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl<S> Dispatcher<S> {
    async fn run<T>(mut self)
    where
        S: Service<Job<T>, Response = ()> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        let semaphore = Arc::new(Semaphore::new(self.settings.concurrency));
        while let Some(permits) = self.permits(&semaphore).await {
            let wanted = permits.len();
            let found = self.take(permits).await.unwrap_or_else(|error| {
                telemetry::database_failed("take", &error);
                0
            });
            if found == wanted {
                // There may be more. A worker of this process that waits can take them.
                self.inbox.arrived.notify_one();
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.inbox.arrived.notified() => {}
                // Not in step with other workers.
                () = sleep(self.settings.poll_interval.mul_f64(rand::random_range(0.75..=1.25))) => {}
            }
        }
    }

    /// Waits for a permit, and returns all that are free. `None` after the stop.
    async fn permits(&mut self, semaphore: &Arc<Semaphore>) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            permit = Arc::clone(semaphore).acquire_owned() => permit.ok()?,
        };
        let mut permits = vec![first];
        permits.extend(std::iter::from_fn(|| Arc::clone(semaphore).try_acquire_owned().ok()));
        Some(permits)
    }

    /// Takes an event for each permit, and returns how many there were.
    async fn take<T>(&mut self, permits: Vec<OwnedSemaphorePermit>) -> Result<usize, sqlx::Error>
    where
        S: Service<Job<T>, Response = ()> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        let (owner, start) = (Owner::random(), Instant::now());
        let rows = self.inbox.queue.take(owner, self.settings.lease, permits.len()).await?;
        let found = rows.len();
        for (row, permit) in rows.into_iter().zip(permits) {
            let attempt =
                row.and_then(|row| Attempt::new(&self.inbox, Arc::clone(&self.settings), owner, start, row));
            let attempt = match attempt {
                Ok(attempt) => attempt,
                Err(error) => {
                    telemetry::unreadable_row(&error);
                    continue;
                }
            };
            let (service, stop, abort) = (self.service.clone(), self.stop.clone(), self.abort.clone());
            drop(self.tasks.spawn(async move {
                if stop.is_cancelled() {
                    attempt.give_back(false).await;
                } else {
                    attempt.run(service, abort).await;
                }
                drop(permit);
            }));
        }
        Ok(found)
    }
}

/// Records the gauges and deletes rows whose retention is over.
async fn maintain(inbox: Inbox, stop: CancellationToken) {
    let mut next_purge = Instant::now();
    while !stop.is_cancelled() {
        match inbox.stats().await {
            Ok(stats) => telemetry::stats(stats),
            Err(error) => telemetry::database_failed("stats", &error),
        }
        if Instant::now() >= next_purge && purge(&inbox, &stop).await {
            next_purge = Instant::now() + PURGE_INTERVAL;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(STATS_INTERVAL) => {}
        }
    }
}

/// Deletes rows in small batches with pauses. Returns false if the database failed.
async fn purge(inbox: &Inbox, stop: &CancellationToken) -> bool {
    while !stop.is_cancelled() {
        let start = Instant::now();
        match inbox.queue.purge().await {
            Ok(0) => return true,
            Ok(_) => {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(PURGE_PAUSE_MIN.max(start.elapsed() * PURGE_PAUSE_FACTOR)) => {}
                }
            }
            Err(error) => {
                telemetry::database_failed("purge", &error);
                return false;
            }
        }
    }
    true
}
