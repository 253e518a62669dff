use tokio_util::task::TaskTracker;

use crate::claim::pending::PendingSettlements;
use crate::claim::waiters::Waiters;
use crate::config::Config;

/// The state that all requests of one layer share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) waiters: Waiters,
    pub(crate) pending: PendingSettlements,
    /// Every task that `drain` waits for.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            waiters: Waiters::default(),
            pending: PendingSettlements::default(),
            tasks: TaskTracker::new(),
        }
    }
}
