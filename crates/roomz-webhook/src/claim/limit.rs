use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::drain::Draining;
use crate::response::RejectionKind;

/// How many deliveries wait for a running handler to end. One more is rejected at once.
const MAX_QUEUED: usize = 1_000;

/// The limit of running handlers. Its semaphores are never closed.
#[derive(Debug)]
pub(crate) struct HandlerLimit {
    running: Semaphore,
    queued: Semaphore,
}

impl HandlerLimit {
    pub(crate) fn new(max_running: usize) -> Self {
        Self { running: Semaphore::new(max_running), queued: Semaphore::new(MAX_QUEUED) }
    }

    /// Returns a permit for one running handler. While the limit is reached, it waits until the deadline, or until `drain` runs.
    pub(crate) async fn permit(
        &self,
        deadline: Instant,
        draining: &Draining,
    ) -> Result<SemaphorePermit<'_>, RejectionKind> {
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(permit);
        }
        let _queued = self.queued.try_acquire().map_err(|_| RejectionKind::Overloaded)?;
        tokio::select! {
            permit = timeout_at(deadline, self.running.acquire()) => match permit {
                Ok(Ok(permit)) => Ok(permit),
                _ => Err(RejectionKind::Overloaded),
            },
            () = draining.started() => Err(RejectionKind::ShuttingDown),
        }
    }
}
