use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::store::IdempotencyStore;

/// A store under test, and how its time is made to pass.
#[derive(Clone)]
pub struct Subject {
    stores: Vec<Arc<dyn IdempotencyStore>>,
    advance: Option<Arc<dyn Fn(Duration) + Send + Sync>>,
    rounds: usize,
    short: Duration,
}

impl Subject {
    /// A store whose clock cannot be moved: the suite waits, with leases of half a second where it must.
    #[must_use]
    pub fn new(store: impl IdempotencyStore) -> Self {
        Self {
            stores: vec![Arc::new(store)],
            advance: None,
            rounds: 1_000,
            short: Duration::from_millis(500),
        }
    }

    /// Another handle on the same data, as a second instance of the receiver has it: a connection of its own, and no
    /// memory shared with the first. Operations go to each in turn, and races are between them. A store that only one
    /// process can have gives a clone.
    #[must_use]
    pub fn with_peer(mut self, store: impl IdempotencyStore) -> Self {
        self.stores.push(Arc::new(store));
        self
    }

    /// How to move the store's clock. Then nothing waits.
    #[must_use]
    pub fn with_advance(mut self, advance: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.advance = Some(Arc::new(advance));
        self
    }

    /// How long a lease is that the suite waits to see the end of, where it has to wait. Default: 500 ms; more for a
    /// slow or distant server.
    #[must_use]
    pub fn with_short_lease(mut self, lease: Duration) -> Self {
        self.short = lease;
        self
    }

    /// How many rounds a race is run, at least one. Default: 1000.
    #[must_use]
    pub fn with_rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    pub(crate) fn stores(&self) -> Vec<Arc<dyn IdempotencyStore>> {
        self.stores.clone()
    }

    pub(crate) const fn rounds(&self) -> usize {
        self.rounds
    }

    /// A lease that the test means to see the end of.
    pub(crate) fn short(&self) -> Duration {
        if self.advance.is_some() { Duration::from_secs(60) } else { self.short }
    }

    pub(crate) async fn pass(&self, time: Duration) {
        match &self.advance {
            Some(advance) => advance(time),
            None => tokio::time::sleep(time).await,
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}
