use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomz_webhook::store::ClaimKey;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::error::{InboxError, InboxErrorKind};
use crate::events::Events;
use crate::telemetry;

/// The most events that wait for the database. Above it, the inbox is full.
const MAX_PENDING: usize = 4_096;
/// The shortest time between two counts of the open events.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// A count takes at most one part in this many of the time.
const COUNT_FRACTION: u32 = 50;

/// What became of an event that was given to the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "an event is new or known")]
pub enum Enqueued {
    /// The event is new and durable.
    New,
    /// The inbox has this event, or had it within its retention.
    Duplicate,
}

/// Adds events unless the inbox is full.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    events: Events,
    max_open: u64,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    pending: Semaphore,
    /// The open events at the last count, and those inserted since then.
    open: AtomicU64,
    /// `None` while a task counts.
    count_after: Mutex<Option<Instant>>,
    /// When the last count that confirms that the inbox is full began, and its result.
    confirmed: tokio::sync::Mutex<(Instant, Option<u64>)>,
    /// Of the connections. The runtime of a caller can end during a count.
    runtime: Handle,
}

impl Admission {
    /// Counts the open events for the first time.
    pub(crate) async fn new(events: Events, max_open: u64) -> Self {
        let state = Arc::new(State {
            pending: Semaphore::new(MAX_PENDING),
            open: AtomicU64::new(0),
            count_after: Mutex::new(None),
            confirmed: tokio::sync::Mutex::new((Instant::now(), None)),
            runtime: Handle::current(),
        });
        let admission = Self { events, max_open, state };
        admission.count().await;
        admission
    }

    /// Waits until the event is durable.
    pub(crate) async fn enqueue(&self, key: &ClaimKey, body: &Bytes) -> Result<Enqueued, InboxError> {
        self.count_if_due();
        let permit = self.state.pending.try_acquire().ok();
        if permit.is_none() || self.is_full().await {
            telemetry::rejected_as_full();
            return Err(InboxError::new(InboxErrorKind::Full));
        }
        // After an error, the event may be durable nevertheless. Its redelivery is a duplicate then.
        let inserted = self.events.queue.insert(key, body).await;
        let is_new = inserted.inspect_err(|failed| telemetry::database_failed("enqueue", failed.clone()))?;
        if !is_new {
            return Ok(Enqueued::Duplicate);
        }
        self.state.open.fetch_add(1, Ordering::Relaxed);
        self.events.arrived.notify_one();
        Ok(Enqueued::New)
    }

    /// Counts the open events from time to time, in a task: no delivery waits for it.
    fn count_if_due(&self) {
        let mut count_after = self.state.count_after.lock().unwrap_or_else(PoisonError::into_inner);
        if count_after.is_some_and(|time| time <= Instant::now()) {
            *count_after = None;
            let admission = self.clone();
            drop(self.state.runtime.spawn(async move { admission.count().await }));
        }
    }

    /// Counts again before it returns true. Deliveries that wait for the same count share it.
    async fn is_full(&self) -> bool {
        if self.state.open.load(Ordering::Relaxed) < self.max_open {
            return false;
        }
        let asked = Instant::now();
        let mut confirmed = self.state.confirmed.lock().await;
        if confirmed.0 < asked {
            let began = Instant::now();
            *confirmed = (began, self.count().await);
        }
        confirmed.1.is_some_and(|open| open >= self.max_open)
    }

    /// Returns the open events. If the count fails, their last number stays.
    async fn count(&self) -> Option<u64> {
        let start = Instant::now();
        let open = self.events.queue.stats().await.ok().map(|stats| stats.waiting + stats.running);
        if let Some(open) = open {
            self.state.open.store(open, Ordering::Relaxed);
            if open >= self.max_open {
                telemetry::full(open);
            }
        }
        let pause = (start.elapsed() * COUNT_FRACTION).max(COUNT_INTERVAL);
        *self.state.count_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        open
    }
}
