use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::queue::Queue;

/// What the inbox and its workers share.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    pub(crate) queue: Queue,
    /// How long a finished event is kept.
    pub(crate) retention: Duration,
    /// Wakes a worker of this process.
    pub(crate) arrived: Arc<Notify>,
}
