use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_sql::db::queue::Failed;
use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::store::Owner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::queue::scan::Scan;
use crate::telemetry;
use crate::worker::attempt::Attempt;
use crate::worker::maintenance::maintain;
use crate::worker::settings::{Handler, WorkerSettings};

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
    pub(crate) fn start<S, T>(events: Events, service: S, settings: WorkerSettings) -> Self
    where
        S: Handler<T>,
        T: Payload,
    {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        // Stopping does not abort, but aborting stops.
        let abort = CancellationToken::new();
        let dispatcher = Dispatcher {
            scan: Scan::new(events.queue.dialect()),
            events: events.clone(),
            service,
            settings: Arc::new(settings),
            stop: stop.clone(),
            abort: abort.clone(),
            tasks: tasks.clone(),
            unconfirmed: None,
        };
        drop(tasks.spawn(dispatcher.run()));
        drop(tasks.spawn(maintain(events, stop.clone())));
        Self { stop, abort, tasks }
    }

    /// Stops taking events, waits for running handlers, and gives events back that are not handled by then.
    ///
    /// Handlers that still run after the timeout are dropped. Their attempt counts, and their event is
    /// available to other workers at once.
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
    events: Events,
    service: S,
    settings: Arc<WorkerSettings>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    /// The owner of a take that failed, and when it began. The database may have executed it.
    unconfirmed: Option<(Owner, Instant)>,
    scan: Scan,
}

impl<S> Dispatcher<S> {
    async fn run<T>(mut self)
    where
        S: Handler<T>,
        T: Payload,
    {
        let semaphore = Arc::new(Semaphore::new(self.settings.concurrency));
        while let Some(permits) = self.permits(&semaphore).await {
            let mut pause = self.settings.poll_interval;
            match self.take(permits).await {
                Ok(true) => {
                    // There may be more. A worker of this process that waits can take them.
                    self.events.arrived.notify_one();
                    continue;
                }
                Ok(false) => pause = pause.min(self.scan.pause()),
                Err(error) => telemetry::database_failed("take", error),
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.events.arrived.notified() => {}
                // Not in step with other workers.
                () = sleep(pause.mul_f64(rand::random_range(0.75..=1.25))) => {}
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

    /// Takes an event for each permit, and returns whether there may be more.
    async fn take<T>(&mut self, permits: Vec<OwnedSemaphorePermit>) -> Result<bool, Failed>
    where
        S: Handler<T>,
        T: Payload,
    {
        if let Some((owner, start)) = self.unconfirmed {
            self.events.queue.give_back_all(owner, start).await?;
        }
        let (owner, start) = (Owner::random(), Instant::now());
        self.unconfirmed = Some((owner, start));
        let taken = self.events.queue.take(owner, self.settings.lease, permits.len(), &mut self.scan);
        let (rows, has_more) = taken.await?;
        self.unconfirmed = None;
        for (event, permit) in rows.into_iter().zip(permits) {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    telemetry::unreadable_row(&error);
                    continue;
                }
            };
            let attempt = Attempt::new(&self.events, Arc::clone(&self.settings), owner, start, event);
            let (service, stop, abort) = (self.service.clone(), self.stop.clone(), self.abort.clone());
            drop(self.tasks.spawn(async move {
                if stop.is_cancelled() {
                    attempt.give_back_unstarted().await;
                } else {
                    attempt.run(service, abort).await;
                }
                drop(permit);
            }));
        }
        Ok(has_more)
    }
}
