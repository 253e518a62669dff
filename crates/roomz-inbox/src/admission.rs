use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomz_webhook::store::ClaimKey;
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
}

impl Admission {
    /// Counts the open events for the first time.
    pub(crate) async fn new(events: Events, max_open: u64) -> Self {
        let (pending, open) = (Semaphore::new(MAX_PENDING), AtomicU64::new(0));
        let state = Arc::new(State { pending, open, count_after: Mutex::new(None) });
        let admission = Self { events, max_open, state };
        admission.count().await;
        admission
    }

    /// Waits until the event is durable.
    pub(crate) async fn enqueue(&self, key: &ClaimKey, body: &Bytes) -> Result<Enqueued, InboxError> {
        self.count_if_due();
        let permit = self.state.pending.try_acquire().ok();
        if permit.is_none() || self.state.open.load(Ordering::Relaxed) >= self.max_open {
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
            drop(tokio::spawn(async move { admission.count().await }));
        }
    }

    async fn count(&self) {
        let start = Instant::now();
        // If the count fails, the number is unknown: the inbox is said to be full only if it is.
        let stats = self.events.queue.stats().await.unwrap_or_default();
        let open = stats.waiting + stats.running;
        self.state.open.store(open, Ordering::Relaxed);
        if open >= self.max_open {
            telemetry::full(open);
        }
        let pause = (start.elapsed() * COUNT_FRACTION).max(COUNT_INTERVAL);
        *self.state.count_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }
}
