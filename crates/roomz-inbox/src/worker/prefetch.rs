use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

/// Prefetched events wait about this long for a handler.
const WAIT: Duration = Duration::from_millis(20);
/// The most prefetched events. If the process dies, they wait until their lease ends.
const MAX_PREFETCHED: usize = 256;

/// The events that a worker has taken, and how long its handlers take.
#[derive(Debug, Default)]
pub(crate) struct Prefetch {
    /// The events that were taken and are not recorded yet.
    in_flight: AtomicUsize,
    /// How long a handler takes: at once longer after a slow one, and slowly shorter. 0: none has ended.
    handler_nanos: AtomicU64,
    /// Set by each take.
    pub(crate) is_allowed: AtomicBool,
    /// Fewer events are in flight.
    changed: Notify,
}

impl Prefetch {
    /// Waits until events can be taken, and returns how many.
    pub(crate) async fn limit(&self, concurrency: usize) -> usize {
        loop {
            let changed = self.changed.notified();
            let count = self.count(concurrency);
            let limit = (concurrency + count).saturating_sub(self.in_flight.load(Ordering::Relaxed));
            // One take for many events.
            if limit > count / 2 {
                return limit;
            }
            changed.await;
        }
    }

    /// An event waited too long for a handler: none is prefetched until handlers end sooner.
    pub(crate) fn handlers_are_slow(&self, concurrency: usize) {
        let slow = (WAIT * u32::try_from(concurrency).unwrap_or(u32::MAX)).as_nanos() + 1;
        self.handler_nanos.fetch_max(u64::try_from(slow).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many events to take besides those that run: as many as handlers start soon.
    fn count(&self, concurrency: usize) -> usize {
        if !self.is_allowed.load(Ordering::Relaxed) {
            return 0;
        }
        let handler = u128::from(self.handler_nanos.load(Ordering::Relaxed));
        let count = (WAIT.as_nanos() * concurrency as u128).checked_div(handler).unwrap_or(0);
        usize::try_from(count).map_or(MAX_PREFETCHED, |count| count.min(MAX_PREFETCHED))
    }
}

/// An event that was taken, until its outcome is recorded.
#[derive(Debug)]
pub(crate) struct InFlight {
    prefetch: Arc<Prefetch>,
    pub(crate) since: Instant,
}

impl InFlight {
    pub(crate) fn new(prefetch: &Arc<Prefetch>) -> Self {
        prefetch.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { prefetch: Arc::clone(prefetch), since: Instant::now() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.prefetch.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.prefetch.changed.notify_one();
    }
}

/// A running handler, until it has ended.
#[derive(Debug)]
pub(crate) struct HandlerPermit {
    prefetch: Arc<Prefetch>,
    start: Instant,
    _permit: OwnedSemaphorePermit,
}

impl HandlerPermit {
    pub(crate) fn new(permit: OwnedSemaphorePermit, prefetch: &Arc<Prefetch>) -> Self {
        Self { prefetch: Arc::clone(prefetch), start: Instant::now(), _permit: permit }
    }
}

impl Drop for HandlerPermit {
    fn drop(&mut self) {
        let (last, before) =
            (self.start.elapsed().as_nanos(), self.prefetch.handler_nanos.load(Ordering::Relaxed));
        let last = u64::try_from(last).unwrap_or(u64::MAX).max(1);
        self.prefetch.handler_nanos.store(last.max(before - before / 8), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;
    use tokio::time::{advance, timeout};

    const CONCURRENCY: usize = 10;

    /// As many events are prefetched as all handlers start within [`WAIT`].
    #[test]
    fn prefetches_what_starts_soon() {
        let prefetch = Prefetch::default();
        for (is_allowed, handler, expected) in [
            (true, Duration::ZERO, 0),
            (true, WAIT / 2, 20),
            (false, WAIT / 2, 0),
            (true, WAIT * 10, 1),
            (true, WAIT * 11, 0),
            (true, WAIT / 1_000, MAX_PREFETCHED),
        ] {
            prefetch.is_allowed.store(is_allowed, Ordering::Relaxed);
            prefetch.handler_nanos.store(handler.as_nanos() as u64, Ordering::Relaxed);
            assert_eq!(prefetch.count(CONCURRENCY), expected, "{is_allowed}, {handler:?}");
        }
        // An event waited too long for a handler.
        prefetch.handlers_are_slow(CONCURRENCY);
        assert_eq!(prefetch.count(CONCURRENCY), 0);
    }

    /// A take has more than half of what can be prefetched, and no more than that.
    #[tokio::test(start_paused = true)]
    async fn takes_many_events_at_once() {
        let prefetch = Arc::new(Prefetch::default());
        prefetch.is_allowed.store(true, Ordering::Relaxed);
        prefetch.handler_nanos.store((WAIT / 2).as_nanos() as u64, Ordering::Relaxed);
        assert_eq!(prefetch.limit(CONCURRENCY).await, 30);
        let mut in_flight: Vec<_> = (0..20).map(|_| InFlight::new(&prefetch)).collect();
        let limit = timeout(WAIT, prefetch.limit(CONCURRENCY));
        assert!(limit.await.is_err(), "10 are not more than half of 20");
        in_flight.pop();
        assert_eq!(prefetch.limit(CONCURRENCY).await, 11);
        in_flight.push(InFlight::new(&prefetch));
        let limit = tokio::spawn({
            let prefetch = Arc::clone(&prefetch);
            async move { prefetch.limit(CONCURRENCY).await }
        });
        tokio::task::yield_now().await;
        in_flight.pop();
        assert_eq!(timeout(WAIT, limit).await.expect("it is not woken").unwrap(), 11);
    }

    /// One slow handler ends prefetching, and many fast ones begin it again.
    #[tokio::test(start_paused = true)]
    async fn slow_handler_counts_at_once_and_fast_ones_slowly() {
        let (prefetch, slots) = (Arc::new(Prefetch::default()), Arc::new(Semaphore::new(1)));
        let second = Duration::from_secs(1);
        for (handler, expected) in [
            (second * 8, second * 8),
            (Duration::ZERO, second * 7),
            (second * 3, second * 49 / 8),
            (second * 9, second * 9),
        ] {
            let permit = Arc::clone(&slots).acquire_owned().await.unwrap();
            let permit = HandlerPermit::new(permit, &prefetch);
            advance(handler).await;
            drop(permit);
            assert_eq!(prefetch.handler_nanos.load(Ordering::Relaxed), expected.as_nanos() as u64);
        }
    }
}
