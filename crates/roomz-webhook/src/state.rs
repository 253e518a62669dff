use std::sync::Arc;

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
    pub(crate) config: Config,
    /// Duplicates that wait for a delivery. One of another process does not notify them, so they also poll
    /// the store.
    pub(crate) waiters: KeyMap<Arc<Notify>>,
    /// Events that were handled, and whose completion the store has not recorded yet.
    pub(crate) unrecorded: KeyMap<Fingerprint>,
    pub(crate) pending_permits: Arc<Semaphore>,
    pub(crate) unconfirmed_permits: Arc<Semaphore>,
    pub(crate) retry_permits: Semaphore,
    pub(crate) draining: Draining,
    pub(crate) readiness: Readiness,
    /// Rejections that anybody can cause.
    pub(crate) rejections: LogInterval,
    /// Every task that `drain` waits for.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            waiters: KeyMap::new(MAX_WAITERS_PER_EVENT, MAX_WAITERS),
            unrecorded: KeyMap::new(usize::MAX, usize::MAX),
            pending_permits: Arc::new(Semaphore::new(MAX_PENDING)),
            unconfirmed_permits: Arc::new(Semaphore::new(MAX_UNCONFIRMED)),
            retry_permits: Semaphore::new(MAX_CONCURRENT_RETRIES),
            draining: Draining::default(),
            readiness: Readiness::default(),
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
