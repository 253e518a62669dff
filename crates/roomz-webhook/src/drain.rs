use std::sync::atomic::{AtomicUsize, Ordering};

use scopeguard::guard;
use tokio::sync::Notify;

/// Whether a `drain` runs. While one runs, no handler starts.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    count: AtomicUsize,
    started: Notify,
}

impl Draining {
    /// Marks a `drain` as running until the guard is dropped, and wakes everything that waits to start a
    /// handler.
    pub(crate) fn start(&self) -> impl Send {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.started.notify_waiters();
        guard(&self.count, |count| _ = count.fetch_sub(1, Ordering::SeqCst))
    }

    pub(crate) fn is_active(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Waits until a `drain` runs.
    pub(crate) async fn started(&self) {
        // Created before the check, so that a `drain` that starts in between is not missed.
        let started = self.started.notified();
        if !self.is_active() {
            started.await;
        }
    }
}
