use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::claim::key_map::KeyMap;
use crate::config::Config;
use crate::drain::Draining;
use crate::readiness::Readiness;
use crate::store::{ClaimKey, Fingerprint};
use crate::telemetry::LogInterval;

/// How many duplicates of one event wait at once.
const MAX_WAITERS_PER_EVENT: usize = 100;
/// How many duplicates of all events wait at once. Each of them polls the store.
const MAX_WAITERS: usize = 1_000;
/// How many completions and releases are retried in the background at once. The others are abandoned.
const MAX_PENDING: usize = 10_000;
/// How many claims of unknown outcome are released in the background at once, so that an outage under load
/// causes no burst of releases. The lease ends the others.
const MAX_UNCONFIRMED: usize = 1_000;
/// How many background settlements call the store at once, so that a store that recovers is not overloaded.
const MAX_CONCURRENT_RETRIES: usize = 32;

/// The state that all requests of one layer share. Its semaphores are never closed.
pub(crate) struct Shared {
    /// Different for each layer of the process.
    pub(crate) id: u64,
    pub(crate) config: Config,
    /// Duplicates that wait for a delivery. One of another process does not notify them, so they also poll
    /// the store.
    pub(crate) waiters: Arc<KeyMap<Arc<Notify>>>,
    /// Events that were handled, and whose completion the store has not recorded yet.
    pub(crate) unrecorded: Arc<KeyMap<Fingerprint>>,
    pub(crate) pending_permits: Arc<Semaphore>,
    pub(crate) unconfirmed_permits: Arc<Semaphore>,
    pub(crate) retry_permits: Semaphore,
    pub(crate) draining: Draining,
    pub(crate) readiness: Readiness,
    /// Requests with another path than that of `with_path`, until the first one matches.
    pub(crate) path_check: PathCheck,
    /// Rejections that anybody can cause.
    pub(crate) rejections: LogInterval,
    /// Every task that `drain` waits for.
    pub(crate) tasks: TaskTracker,
}

/// After this many requests with a signature header and another path, and none with the path of `with_path`,
/// a warning is logged. Not after the first, because another layer may be in front of that path.
const OTHERS_BEFORE_WARNING: u32 = 10;

/// Notices a path that no request has, for example because a router removes a prefix of it.
///
/// It counts the other requests. The first match, too, ends the count.
#[derive(Debug, Default)]
pub(crate) struct PathCheck(AtomicU32);

impl PathCheck {
    pub(crate) fn matched(&self) {
        // Read first, because a write by each request would be shared between all cores.
        if self.is_counting() {
            self.0.store(OTHERS_BEFORE_WARNING, Ordering::Relaxed);
        }
    }

    /// Counts a request with a signature header and another path. Returns true once, if the warning is due.
    pub(crate) fn is_warning_due(&self) -> bool {
        self.is_counting() && self.0.fetch_add(1, Ordering::Relaxed) + 1 == OTHERS_BEFORE_WARNING
    }

    fn is_counting(&self) -> bool {
        self.0.load(Ordering::Relaxed) < OTHERS_BEFORE_WARNING
    }
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            config,
            waiters: Arc::new(KeyMap::new(MAX_WAITERS_PER_EVENT, MAX_WAITERS)),
            unrecorded: Arc::new(KeyMap::new(usize::MAX, usize::MAX)),
            pending_permits: Arc::new(Semaphore::new(MAX_PENDING)),
            unconfirmed_permits: Arc::new(Semaphore::new(MAX_UNCONFIRMED)),
            retry_permits: Semaphore::new(MAX_CONCURRENT_RETRIES),
            draining: Draining::default(),
            readiness: Readiness::default(),
            path_check: PathCheck::default(),
            rejections: LogInterval::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Wakes every duplicate that waits for this event, after it was settled.
    pub(crate) fn notify_waiters(&self, key: &ClaimKey) {
        if let Some(notify) = self.waiters.get(key) {
            notify.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_that_never_matches_warns_once() {
        let check = PathCheck::default();
        let due: Vec<_> = (1..=30).filter(|_| check.is_warning_due()).collect();
        assert_eq!(due, [10]);
        assert_eq!(check.0.into_inner(), 10, "no request writes after the warning");
    }

    #[test]
    fn path_that_matches_never_warns() {
        let check = PathCheck::default();
        assert!(!(1..10).any(|_| check.is_warning_due()));
        check.matched();
        assert!(!(1..30).any(|_| check.is_warning_due()));
        assert_eq!(check.0.into_inner(), 10, "no request writes after the first match");
    }
}
