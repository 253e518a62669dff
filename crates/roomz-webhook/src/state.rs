use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::claim::pending::PendingSettlements;
use crate::claim::waiters::Waiters;
use crate::config::Config;
use crate::drain::Draining;

/// The state that all requests of one layer share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) waiters: Waiters,
    pub(crate) pending: PendingSettlements,
    /// `None` without a limit. The semaphore is never closed.
    pub(crate) handler_permits: Option<Semaphore>,
    pub(crate) draining: Draining,
    /// Every task that `drain` waits for.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            handler_permits: config.max_running_handlers.map(Semaphore::new),
            config,
            waiters: Waiters::default(),
            pending: PendingSettlements::default(),
            draining: Draining::default(),
            tasks: TaskTracker::new(),
        }
    }
}
