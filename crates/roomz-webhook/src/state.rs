use tokio_util::task::TaskTracker;

use crate::claim::limit::HandlerLimit;
use crate::claim::pending::PendingSettlements;
use crate::claim::waiters::Waiters;
use crate::config::Config;
use crate::drain::Draining;
use crate::log_interval::LogInterval;
use crate::readiness::Readiness;

/// The state that all requests of one layer share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) waiters: Waiters,
    pub(crate) pending: PendingSettlements,
    pub(crate) handler_limit: Option<HandlerLimit>,
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
            handler_limit: config.max_running_handlers.map(HandlerLimit::new),
            config,
            waiters: Waiters::default(),
            pending: PendingSettlements::default(),
            draining: Draining::default(),
            readiness: Readiness::default(),
            rejections: LogInterval::default(),
            tasks: TaskTracker::new(),
        }
    }
}
