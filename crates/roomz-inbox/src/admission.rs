use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use roomz_webhook::store::ClaimKey;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{InboxError, InboxErrorKind};
use crate::events::Events;
use crate::queue::Queue;
use crate::telemetry;

/// The most events that wait for the database. Above it, the inbox is full.
const MAX_PENDING: usize = 4_096;
/// The shortest time between two counts of the open events, unless it reaches the limit.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// A count takes at most one part in this many of the time, also while the inbox may be full.
const COUNT_FRACTION: u32 = 50;
const FULL_COUNT_FRACTION: u32 = 4;

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
    state: Arc<State>,
    /// Ends with the last clone of the inbox.
    _counter: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct State {
    max_open: u64,
    pending: Semaphore,
    /// The open events at the last count, and those inserted since then.
    open: AtomicU64,
    /// Only a count that succeeded sets it.
    is_full: AtomicBool,
    inserted: Notify,
}

impl Admission {
    /// Counts the open events for the first time.
    pub(crate) async fn new(events: Events, max_open: u64) -> Self {
        let state = Arc::new(State {
            max_open,
            pending: Semaphore::new(MAX_PENDING),
            open: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            inserted: Notify::new(),
        });
        let (start, counted) = (Instant::now(), state.count(&events.queue).await);
        let counter = tokio::spawn(Arc::clone(&state).count_repeatedly(events.queue.clone(), start, counted));
        Self { events, state, _counter: Arc::new(AbortOnDropHandle::new(counter)) }
    }

    /// Waits until the event is durable.
    pub(crate) async fn enqueue(
        &self,
        key: &ClaimKey,
        body: &Bytes,
        traceparent: Option<&str>,
    ) -> Result<Enqueued, InboxError> {
        let permit = self.state.pending.try_acquire().ok();
        if permit.is_none() || self.state.is_full.load(Ordering::Relaxed) {
            telemetry::rejected_as_full();
            return Err(InboxError::new(InboxErrorKind::Full));
        }
        // After an error, the event may be durable nevertheless. Its redelivery is a duplicate then.
        let inserted = self.events.queue.insert(key, body, traceparent).await;
        let is_new = inserted.inspect_err(|failed| telemetry::database_failed("enqueue", failed.clone()))?;
        if !is_new {
            return Ok(Enqueued::Duplicate);
        }
        self.state.open.fetch_add(1, Ordering::Relaxed);
        self.state.inserted.notify_one();
        self.events.arrived.notify_one();
        Ok(Enqueued::New)
    }
}

impl State {
    /// Counts the open events without an end. No delivery waits for a count.
    async fn count_repeatedly(self: Arc<Self>, queue: Queue, mut start: Instant, mut counted: bool) {
        loop {
            let elapsed = start.elapsed();
            let pause = (elapsed * COUNT_FRACTION).max(COUNT_INTERVAL);
            if self.is_full.load(Ordering::Relaxed) {
                sleep((elapsed * FULL_COUNT_FRACTION).max(COUNT_INTERVAL)).await;
            } else if counted {
                sleep(elapsed * FULL_COUNT_FRACTION).await;
                while start.elapsed() < pause && self.open.load(Ordering::Relaxed) < self.max_open {
                    self.inserted.notified().await;
                }
            } else {
                sleep(pause).await;
            }
            start = Instant::now();
            counted = self.count(&queue).await;
        }
    }

    /// Returns false if the count failed: then the inbox is not known to be full, and the number stays.
    async fn count(&self, queue: &Queue) -> bool {
        let counted =
            queue.open().await.inspect_err(|failed| telemetry::database_failed("count", failed.clone()));
        let open = counted.as_ref().ok().map(|open| open.waiting + open.running);
        if let Some(open) = open {
            self.open.store(open, Ordering::Relaxed);
        }
        let is_full = open.filter(|open| *open >= self.max_open);
        self.is_full.store(is_full.is_some(), Ordering::Relaxed);
        is_full.inspect(|open| telemetry::full(*open));
        open.is_some()
    }
}
