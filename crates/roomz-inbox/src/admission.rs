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
            let (least, longest) = self.pauses(start.elapsed(), counted);
            sleep(least).await;
            while start.elapsed() < longest && self.open.load(Ordering::Relaxed) < self.max_open {
                self.inserted.notified().await;
            }
            start = Instant::now();
            counted = self.count(&queue).await;
        }
    }

    /// How long to pause after a count that took this long: at least, and then for events that are inserted,
    /// unless they may have reached the limit.
    fn pauses(&self, elapsed: Duration, counted: bool) -> (Duration, Duration) {
        let short = elapsed * FULL_COUNT_FRACTION;
        let long = (elapsed * COUNT_FRACTION).max(COUNT_INTERVAL);
        match (self.is_full.load(Ordering::Relaxed), counted) {
            (true, _) => (short.max(COUNT_INTERVAL), Duration::ZERO),
            (false, true) => (short, long),
            (false, false) => (long, Duration::ZERO),
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

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use super::*;
    use crate::queue::scan::Scan;
    use crate::queue::tests::{change, key, queue, sqlite_url};
    use roomz_webhook::store::Owner;

    const HOUR: Duration = Duration::from_hours(1);

    async fn events(directory: &tempfile::TempDir) -> Events {
        Events { queue: queue(sqlite_url(directory)).await, retention: HOUR, arrived: Arc::default() }
    }

    async fn enqueue(admission: &Admission, number: u128) {
        let enqueued = admission.enqueue(&key("roomz", number), &Bytes::new(), None).await;
        assert_eq!(enqueued.unwrap(), Enqueued::New);
    }

    /// A count may be slow. Deliveries do not wait for it, but the database does.
    #[tokio::test]
    async fn count_takes_small_part_of_time() {
        let directory = tempfile::tempdir().unwrap();
        let admission = Admission::new(events(&directory).await, 10).await;
        let second = Duration::from_secs(1);
        for (is_full, counted, fast, slow) in [
            (false, true, (Duration::ZERO, second), (second * 4, second * 50)),
            (false, false, (second, Duration::ZERO), (second * 50, Duration::ZERO)),
            (true, true, (second, Duration::ZERO), (second * 4, Duration::ZERO)),
        ] {
            admission.state.is_full.store(is_full, Ordering::Relaxed);
            assert_eq!(admission.state.pauses(Duration::ZERO, counted), fast, "{is_full}, {counted}");
            assert_eq!(admission.state.pauses(second, counted), slow, "{is_full}, {counted}");
        }
    }

    #[tokio::test]
    async fn full_inbox_needs_no_further_delivery() {
        let directory = tempfile::tempdir().unwrap();
        let admission = Admission::new(events(&directory).await, 2).await;
        enqueue(&admission, 1).await;
        enqueue(&admission, 2).await;
        let start = Instant::now();
        while !admission.state.is_full.load(Ordering::Relaxed) {
            assert!(start.elapsed() < Duration::from_secs(60), "the events are not counted");
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn inbox_without_deliveries_is_not_counted() {
        let directory = tempfile::tempdir().unwrap();
        let admission = Admission::new(events(&directory).await, 2).await;
        // As another process does.
        assert!(admission.events.queue.insert(&key("roomz", 1), b"", None).await.unwrap());
        // The last count took an hour.
        let (queue, start) = (&admission.events.queue, Instant::now().checked_sub(HOUR).unwrap());
        let counting = Arc::clone(&admission.state).count_repeatedly(queue.clone(), start, true);
        let _counting = AbortOnDropHandle::new(tokio::spawn(counting));
        tokio::task::yield_now().await;
        for pause in [HOUR * FULL_COUNT_FRACTION * 2, COUNT_INTERVAL, COUNT_INTERVAL, COUNT_INTERVAL] {
            tokio::time::pause();
            tokio::time::advance(pause).await;
            tokio::time::resume();
            // Behind a count that has begun.
            assert_eq!(queue.open().await.unwrap().waiting, 1);
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.state.open.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn failed_count_changes_no_number() {
        let directory = tempfile::tempdir().unwrap();
        let admission = Admission::new(events(&directory).await, 4).await;
        let (queue, state) = (&admission.events.queue, &admission.state);
        for number in 0..3 {
            enqueue(&admission, number).await;
        }
        let owner = Owner::random();
        let taken = queue.take(owner, HOUR, 1, &mut Scan::new(queue.dialect())).await.unwrap().0;
        assert_eq!(taken.len(), 1);
        assert!(state.count(queue).await);
        assert_eq!(state.open.load(Ordering::Relaxed), 3);
        change(queue, "DROP TABLE roomz_inbox").await;
        assert!(!state.count(queue).await);
        assert_eq!(state.open.load(Ordering::Relaxed), 3);
        assert!(!state.is_full.load(Ordering::Relaxed));
    }
}
