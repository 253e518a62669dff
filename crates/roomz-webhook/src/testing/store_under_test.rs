use std::sync::Arc;
use std::time::Duration;

use crate::store::IdempotencyStore;

/// A store for [`store_contract!`](crate::store_contract), with its clock.
///
/// ```
/// use roomz_webhook::store::MokaStore;
/// use roomz_webhook::testing::{ManualClock, StoreUnderTest};
///
/// let clock = ManualClock::new();
/// let store = MokaStore::builder().with_clock(clock.clone()).build();
/// let store = StoreUnderTest::new(store.clone())
///     .with_peer(store)
///     .with_advance(move |duration| clock.advance(duration))
///     .with_rounds(100);
/// # drop(store);
/// ```
#[derive(Clone, derive_more::Debug)]
#[debug("StoreUnderTest {{ rounds: {rounds:?}, .. }}")]
pub struct StoreUnderTest {
    pub(crate) stores: Vec<Arc<dyn IdempotencyStore>>,
    advance: Option<Arc<dyn Fn(Duration) + Send + Sync>>,
    pub(crate) rounds: usize,
    short_lease: Duration,
}

impl StoreUnderTest {
    /// Creates the subject of the suite from one store instance.
    ///
    /// Without [`with_advance`](Self::with_advance) the suite sleeps until leases of half a second end.
    #[must_use]
    pub fn new(store: impl IdempotencyStore) -> Self {
        Self {
            stores: vec![Arc::new(store)],
            advance: None,
            rounds: 1_000,
            short_lease: Duration::from_millis(500),
        }
    }

    /// Adds a second instance on the same data, as another process would have: with its own connection, and
    /// no shared memory.
    ///
    /// Operations alternate between the instances, and races run between them. For a store that only one
    /// process can open, pass a clone.
    #[must_use]
    pub fn with_peer(mut self, store: impl IdempotencyStore) -> Self {
        self.stores.push(Arc::new(store));
        self
    }

    /// Sets how to advance the store's clock. The suite then never sleeps. Default: the suite sleeps.
    #[must_use]
    pub fn with_advance(mut self, advance: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.advance = Some(Arc::new(advance));
        self
    }

    /// Sets the lease whose end the suite sleeps for. Default: 500 ms. Raise it for a slow or distant server.
    #[must_use]
    pub fn with_short_lease(mut self, lease: Duration) -> Self {
        self.short_lease = lease;
        self
    }

    /// Sets how many rounds each race runs. Default: 1 000. Zero counts as 1.
    #[must_use]
    pub fn with_rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// A lease whose end the test waits for.
    pub(crate) fn short(&self) -> Duration {
        if self.advance.is_some() { Duration::from_secs(60) } else { self.short_lease }
    }

    /// Waits until a lease or a retention has ended.
    pub(crate) async fn end(&self, time: Duration) {
        self.pass(time + time / 5).await;
    }

    pub(crate) async fn pass(&self, time: Duration) {
        match &self.advance {
            Some(advance) => advance(time),
            None => tokio::time::sleep(time).await,
        }
    }
}
