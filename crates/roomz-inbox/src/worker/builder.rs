use std::marker::PhantomData;
use std::time::Duration;

use roomz_sql::db::backoff::Backoff;
use roomz_webhook::roomz_protocol::Payload;
use tower_service::Service;

use crate::error::BoxError;
use crate::events::Events;
use crate::job::Job;
use crate::worker::run::Worker;
use crate::worker::settings::WorkerSettings;

/// The most events that a worker runs at once.
const MAX_CONCURRENCY: usize = 1_000;
/// The limits of durations. Shorter leases and intervals would keep the database busy, longer pauses cannot
/// be computed with.
const MIN_LEASE: Duration = Duration::from_millis(100);
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Builds a [`Worker`]. Every setting has a default. See [`Inbox::worker`](crate::Inbox::worker).
#[derive(derive_more::Debug)]
#[debug("WorkerBuilder {{ settings: {settings:?}, .. }}")]
#[must_use = "call `start` to run events"]
pub struct WorkerBuilder<S, T> {
    events: Events,
    service: S,
    settings: WorkerSettings,
    event: PhantomData<fn(T)>,
}

impl<S, T> WorkerBuilder<S, T> {
    pub(crate) fn new(events: Events, service: S) -> Self {
        Self { events, service, settings: WorkerSettings::default(), event: PhantomData }
    }

    /// Sets how many handlers of this worker run at once, from 1 to 1 000. Default: 10. More events may be
    /// taken, and wait for a handler or to be recorded.
    ///
    /// On PostgreSQL, set [`with_max_connections`](crate::InboxBuilder::with_max_connections) to at least two
    /// more.
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.settings.concurrency = concurrency.clamp(1, MAX_CONCURRENCY);
        self
    }

    /// Sets the lease, at least 100 ms. Default: 60 s.
    ///
    /// The worker renews it every third of this time while the handler runs. If the process dies, another
    /// worker takes the event over when the lease ends: after this time, and a random part of up to a half of
    /// it. So events that ran together with one that ended their process run apart from it the next time.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.max(MIN_LEASE);
        self
    }

    /// Sets the timeout of a handler. Default: 5 min. Then the handler is dropped and the attempt has failed.
    pub const fn with_handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handler_timeout = timeout;
        self
    }

    /// Sets the maximum number of attempts. Default: 25. Zero counts as 1.
    ///
    /// After the last failed attempt, the event becomes a dead letter. Attempts count when a worker takes the
    /// event, so one that ends its process becomes a dead letter too. With the default backoff, 25 attempts
    /// take about 13 h.
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts.max(1);
        self
    }

    /// Sets the maximum age of an event. Default: 3 days. A failed attempt of an older event is its last.
    ///
    /// The age counts from the arrival. Every event gets at least one attempt, however old it is. A dead
    /// letter that is retried has all its attempts.
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.settings.max_age = age;
        self
    }

    /// Sets the pause before the second attempt, and the longest pause, at most a year. Default: 1 s and 1 h.
    ///
    /// The pause doubles with each attempt. A random part of up to a half is subtracted, so that events that
    /// failed together do not run together again. The time of the next attempt is in the database, so a
    /// restart does not change it.
    pub fn with_backoff(mut self, min: Duration, max: Duration) -> Self {
        self.settings.backoff = Backoff { min: min.min(MAX_PAUSE), max: max.min(MAX_PAUSE) };
        self
    }

    /// Sets the longest pause after which an idle worker looks for events, from 10 ms to a year. Default: 500
    /// ms. The first pause after an event has 25 ms at most, and each further one twice as much.
    ///
    /// A worker in the process of the endpoint is woken for new events. The interval matters for workers in
    /// other processes, and for events whose backoff ends.
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval.clamp(MIN_POLL_INTERVAL, MAX_PAUSE);
        self
    }

    /// Sets how long a dead letter is kept. Default: 30 days. Then it is deleted, and the event is lost.
    pub const fn with_dead_letter_retention(mut self, retention: Duration) -> Self {
        self.settings.dead_letter_retention = retention;
        self
    }

    /// Starts the worker on the current tokio runtime.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use = "dropping the worker stops it"]
    pub fn start(self) -> Worker
    where
        S: Service<Job<T>, Response = ()> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        T: Payload,
    {
        Worker::start(self.events, self.service, self.settings)
    }
}
