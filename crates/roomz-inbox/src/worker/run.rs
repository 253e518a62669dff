use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use roomz_sql::db::queue::Failed;
use roomz_webhook::roomz_protocol::Payload;
use roomz_webhook::store::Owner;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::queue::scan::Scan;
use crate::telemetry;
use crate::worker::attempt::Attempt;
use crate::worker::maintenance::maintain;
use crate::worker::prefetch::{HandlerPermit, InFlight, Prefetch};
use crate::worker::settings::{Handler, WorkerSettings};

/// The time for recording what happened to the handlers that a shutdown stopped.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a prefetched event may wait for a handler before another worker can take it: far less
/// than its lease.
const MAX_WAIT: Duration = Duration::from_millis(250);
/// With as many attempts or fewer, no event is prefetched: a worker that dies uses an attempt of each.
const FEW_ATTEMPTS: u32 = 3;
/// The interval at which the events of a failed take are given back.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a take that found all events that are due. It doubles up to the poll interval.
const MIN_IDLE_PAUSE: Duration = Duration::from_millis(25);

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
        let (abort, tasks) = (CancellationToken::new(), TaskTracker::new());
        // Stopping does not abort, but aborting stops.
        let stop = abort.child_token();
        let (prefetch, (taken, starts)) = (Arc::default(), unbounded_channel());
        let starter = Starter {
            service,
            slots: Arc::new(Semaphore::new(settings.concurrency)),
            concurrency: settings.concurrency,
            max_wait: MAX_WAIT.min(settings.lease / 6),
            stop: stop.clone(),
            abort: abort.clone(),
            tasks: tasks.clone(),
            prefetch: Arc::clone(&prefetch),
        };
        let dispatcher = Dispatcher {
            scan: Scan::new(events.queue.dialect()),
            events: events.clone(),
            settings: Arc::new(settings),
            stop: stop.clone(),
            unconfirmed: Vec::new(),
            prefetch,
            taken,
        };
        drop(tasks.spawn(dispatcher.run()));
        drop(tasks.spawn(starter.run(starts)));
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
        self.abort.cancel();
    }
}

/// Takes events and starts their handlers.
struct Dispatcher {
    events: Events,
    settings: Arc<WorkerSettings>,
    stop: CancellationToken,
    /// The owners of failed takes, when the takes began, and when their events are given back next. The
    /// database may have executed them, or does so later.
    unconfirmed: Vec<(Owner, Instant, Instant)>,
    scan: Scan,
    prefetch: Arc<Prefetch>,
    taken: UnboundedSender<(Attempt, InFlight)>,
}

impl Dispatcher {
    async fn run(mut self) {
        let mut idle_pause = MIN_IDLE_PAUSE;
        loop {
            let limit = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                limit = self.prefetch.limit(self.settings.concurrency) => limit,
            };
            let mut pause = self.settings.poll_interval;
            match self.take(limit).await {
                Ok((_, true)) => {
                    // There may be more. A worker of this process that waits can take them.
                    self.events.arrived.notify_one();
                    continue;
                }
                Ok((found, false)) => {
                    idle_pause = next_idle_pause(found, idle_pause);
                    pause = pause.min(idle_pause).min(self.scan.pause());
                }
                Err(error) => {
                    // The rows may have been too many for one reply.
                    self.prefetch.is_allowed.store(false, Ordering::Relaxed);
                    telemetry::database_failed("take", error);
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.events.arrived.notified() => {}
                // Not in step with other workers.
                () = sleep(pause.mul_f64(rand::random_range(0.75..=1.25))) => {}
            }
        }
        self.unconfirmed.iter_mut().for_each(|(_, start, next)| *next = *start);
        let given_back = self.give_back_unconfirmed().await;
        given_back.unwrap_or_else(|error| telemetry::database_failed("give_back", error));
    }

    /// Gives back the events of failed takes, until their leases are over: the commit of a take may become
    /// visible long after the timeout of its reply.
    async fn give_back_unconfirmed(&mut self) -> Result<(), Failed> {
        let lease = self.settings.lease;
        self.unconfirmed.retain(|(_, start, _)| start.elapsed() < lease.saturating_mul(3) / 2);
        // The last ones are enough: a database that rejects each take has executed none.
        self.unconfirmed.drain(..self.unconfirmed.len().saturating_sub(16));
        for (owner, start, next) in &mut self.unconfirmed {
            if *next <= Instant::now() {
                // With a second for the clocks. Events that wait are due before.
                let behind = (start.elapsed() + Duration::from_secs(1)).saturating_sub(lease);
                self.events.queue.give_back_all(*owner, behind).await?;
                *next = Instant::now() + GIVE_BACK_INTERVAL;
            }
        }
        Ok(())
    }

    /// Takes events. Returns how many, and whether there may be more.
    async fn take(&mut self, limit: usize) -> Result<(usize, bool), Failed> {
        self.give_back_unconfirmed().await?;
        let (owner, start) = (Owner::random(), Instant::now());
        self.unconfirmed.push((owner, start, start));
        let rows = self.events.queue.take(owner, self.settings.lease, limit, &mut self.scan);
        let (rows, has_more) = rows.await?;
        self.unconfirmed.pop();
        let found = rows.len();
        // An event that has had an attempt may have ended its process, and may do so again: with each of its
        // attempts the events that wait lose one without a handler. A take that finds none, for example in a
        // step of a sweep, does not tell whether such events wait.
        let mut is_allowed = found > 0 && self.settings.max_attempts > FEW_ATTEMPTS;
        for event in rows {
            match event {
                Ok(event) => {
                    let (events, settings) = (self.events.clone(), Arc::clone(&self.settings));
                    let attempt = Attempt { events, settings, owner, since: start, event: Arc::new(event) };
                    is_allowed &= !attempt.is_repeated();
                    let _ = self.taken.send((attempt, InFlight::new(&self.prefetch)));
                }
                Err(error) => telemetry::unreadable_row(&error),
            }
        }
        self.prefetch.is_allowed.store(is_allowed, Ordering::Relaxed);
        if self.taken.is_closed() {
            // A clone of the service panicked. Nothing starts handlers any more.
            self.stop.cancel();
            self.unconfirmed.push((owner, start, start));
        }
        Ok((found, has_more))
    }
}

/// Where some events came, more come soon.
const fn next_idle_pause(found: usize, previous: Duration) -> Duration {
    if found > 0 { MIN_IDLE_PAUSE } else { previous.saturating_mul(2) }
}

/// Starts handlers, in the order in which their events were taken.
struct Starter<S> {
    service: S,
    /// A permit for each running handler.
    slots: Arc<Semaphore>,
    concurrency: usize,
    max_wait: Duration,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    prefetch: Arc<Prefetch>,
}

impl<S> Starter<S> {
    async fn run<T>(self, mut taken: UnboundedReceiver<(Attempt, InFlight)>)
    where
        S: Handler<T>,
        T: Payload,
    {
        while let Some((attempt, in_flight)) = taken.recv().await {
            let slot = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                permit = Arc::clone(&self.slots).acquire_owned() => permit.ok(),
                // Another worker may be free.
                () = sleep_until(in_flight.since + self.max_wait) => {
                    self.prefetch.handlers_are_slow(self.concurrency);
                    None
                }
            };
            let slot = slot.map(|permit| HandlerPermit::new(permit, &self.prefetch));
            let (service, abort) = (self.service.clone(), self.abort.clone());
            drop(self.tasks.spawn(async move {
                match slot {
                    Some(slot) => attempt.run(service, abort, slot).await,
                    None => attempt.give_back_unstarted().await,
                }
                drop(in_flight);
            }));
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use super::*;
    use crate::queue::OwnerUpdate;
    use crate::queue::tests::{key, queue, sqlite_url};

    const HOUR: Duration = Duration::from_hours(1);

    /// A dispatcher whose starter takes nothing from the channel.
    async fn dispatcher(
        directory: &tempfile::TempDir,
        max_attempts: u32,
    ) -> (Dispatcher, UnboundedReceiver<(Attempt, InFlight)>) {
        let queue = queue(sqlite_url(directory)).await;
        let (taken, starts) = unbounded_channel();
        let dispatcher = Dispatcher {
            scan: Scan::new(queue.dialect()),
            events: Events { queue, retention: HOUR, arrived: Arc::default() },
            settings: Arc::new(WorkerSettings { max_attempts, ..WorkerSettings::default() }),
            stop: CancellationToken::new(),
            unconfirmed: Vec::new(),
            prefetch: Arc::default(),
            taken,
        };
        (dispatcher, starts)
    }

    #[test]
    fn idle_pause_doubles_until_an_event_comes() {
        let pause = next_idle_pause(0, MIN_IDLE_PAUSE);
        assert_eq!(pause, 2 * MIN_IDLE_PAUSE);
        assert_eq!(next_idle_pause(1, pause), MIN_IDLE_PAUSE);
    }

    /// An event that ends its process would use an attempt of each event that waits behind it.
    #[tokio::test]
    async fn prefetches_behind_first_attempts_only() {
        for (max_attempts, is_allowed_first) in [(FEW_ATTEMPTS + 1, true), (FEW_ATTEMPTS, false)] {
            let directory = tempfile::tempdir().unwrap();
            let (mut dispatcher, mut starts) = dispatcher(&directory, max_attempts).await;
            let is_allowed = |dispatcher: &Dispatcher| dispatcher.prefetch.is_allowed.load(Ordering::Relaxed);
            for number in 0..2 {
                assert!(dispatcher.events.queue.insert(&key("roomz", number), b"", None).await.unwrap());
            }
            assert_eq!(dispatcher.take(10).await.unwrap(), (2, false));
            assert_eq!(is_allowed(&dispatcher), is_allowed_first);
            assert_eq!(dispatcher.take(10).await.unwrap(), (0, false));
            assert!(!is_allowed(&dispatcher), "nothing was taken");

            // One of two has had an attempt.
            let (failed, _) = starts.recv().await.unwrap();
            let (unstarted, _) = starts.recv().await.unwrap();
            let (queue, event) = (&dispatcher.events.queue, &failed.event);
            queue.update(&event.key, failed.owner, event.attempt, OwnerUpdate::GiveBack).await.unwrap();
            unstarted.give_back_unstarted().await;
            assert_eq!(dispatcher.take(10).await.unwrap(), (2, false));
            assert!(!is_allowed(&dispatcher), "one had an attempt");
        }
    }

    /// The reply to a take was lost, and the worker is shut down.
    #[tokio::test]
    async fn gives_unconfirmed_take_back_at_shutdown() {
        let directory = tempfile::tempdir().unwrap();
        let (mut dispatcher, _starts) = dispatcher(&directory, 25).await;
        let settings = WorkerSettings { lease: Duration::MAX, ..WorkerSettings::default() };
        dispatcher.settings = Arc::new(settings);
        let (key, queue) = (key("roomz", 1), dispatcher.events.queue.clone());
        assert!(queue.insert(&key, b"", None).await.unwrap());
        let (owner, start) = (Owner::random(), Instant::now());
        let taken = queue.take(owner, HOUR, 1, &mut Scan::new(queue.dialect())).await.unwrap().0;
        assert_eq!(taken.len(), 1);
        // It was given back a moment ago, before its commit became visible.
        dispatcher.unconfirmed.push((owner, start, start + HOUR));
        dispatcher.stop.cancel();
        dispatcher.run().await;
        let entry = queue.get(&key).await.unwrap().unwrap();
        assert_eq!((entry.state, entry.attempts), (crate::InboxState::Waiting, 0));
    }

    /// A panic in a clone of the service ended the task that starts handlers.
    #[tokio::test]
    async fn gives_events_back_that_nothing_starts() {
        let directory = tempfile::tempdir().unwrap();
        let (dispatcher, starts) = dispatcher(&directory, 25).await;
        let key = key("roomz", 1);
        assert!(dispatcher.events.queue.insert(&key, b"", None).await.unwrap());
        drop(starts);
        let queue = dispatcher.events.queue.clone();
        dispatcher.run().await;
        let entry = queue.get(&key).await.unwrap().unwrap();
        assert_eq!((entry.state, entry.attempts), (crate::InboxState::Waiting, 0));
    }
}
