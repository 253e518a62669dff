use std::sync::Arc;

use crate::clock::{Clock, SystemClock};

const DEFAULT_CAPACITY: u64 = 1_000_000;
const DEFAULT_MAX_IN_FLIGHT: usize = 100_000;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) capacity: u64,
    pub(super) max_in_flight: usize,
    pub(super) clock: Arc<dyn Clock>,
}

/// Builds a store in memory: a `MokaStore` or a `CompactStore`. Every setting has a default.
///
/// ```
/// use roomz_webhook::store::MokaStore;
///
/// let store = MokaStore::builder().with_capacity(2_000_000).with_max_in_flight(10_000).build();
/// # drop(store);
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to get the store"]
pub struct InMemoryBuilder<S> {
    settings: Settings,
    build: fn(Settings) -> S,
}

impl<S> InMemoryBuilder<S> {
    pub(super) fn new(build: fn(Settings) -> S) -> Self {
        let clock = Arc::new(SystemClock);
        let settings = Settings { capacity: DEFAULT_CAPACITY, max_in_flight: DEFAULT_MAX_IN_FLIGHT, clock };
        Self { settings, build }
    }

    /// Sets how many done and released ids are remembered. Default: 1 000 000. Zero counts as 1.
    ///
    /// The rule is `sensors × changes per day × days of retention`. Raise it when
    /// `evicted_early` is above 0. An id takes up to 373 bytes in a `MokaStore` and 86 in a `CompactStore`,
    /// which are allocated when it arrives.
    ///
    /// ```
    /// # use roomz_webhook::store::MokaStore;
    /// let store = MokaStore::builder().with_capacity(2_000_000).build();
    /// ```
    pub fn with_capacity(mut self, capacity: u64) -> Self {
        self.settings.capacity = capacity.max(1);
        self
    }

    /// Sets how many claims may be in flight at once. Default: 100 000. Zero counts as 1.
    ///
    /// A claim above it fails with [`StoreErrorKind::Full`](crate::store::StoreErrorKind::Full), which the
    /// layer answers with 503 under every policy. Lower it to bound memory.
    ///
    /// ```
    /// # use roomz_webhook::store::MokaStore;
    /// let store = MokaStore::builder().with_max_in_flight(1_000).build();
    /// ```
    pub fn with_max_in_flight(mut self, claims: usize) -> Self {
        self.settings.max_in_flight = claims.max(1);
        self
    }

    /// Sets the clock for leases and retention. Default: [`SystemClock`]. Set it in tests.
    ///
    /// ```
    /// # use roomz_webhook::{SystemClock, store::MokaStore};
    /// let store = MokaStore::builder().with_clock(SystemClock).build();
    /// ```
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Creates an empty store.
    #[must_use]
    pub fn build(self) -> S {
        (self.build)(self.settings)
    }
}
