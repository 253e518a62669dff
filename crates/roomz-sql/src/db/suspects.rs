use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// Which connections must be replaced before their next use.
///
/// A statement that was sent at some time broke its connection or got no reply. What happened to that
/// connection may have happened to every connection without a reply since then.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<Option<Instant>>);

impl Suspects {
    pub(crate) fn add(&self, since: Instant) {
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *before = (*before).max(Some(since));
    }

    pub(crate) fn contains(&self, last_reply: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|before| last_reply < before)
    }
}
