//! `MokaStore` and `CompactStore` meet the contract for stores.

use std::time::Duration;

use roomz_webhook::store::{CompactStore, IdempotencyStore, MokaStore};
use roomz_webhook::testing::{ManualClock, StoreUnderTest};

use crate::support::rounds;

roomz_webhook::store_contract!(moka_with_manual_clock, async {
    let clock = ManualClock::new();
    with_manual_clock(MokaStore::builder().with_clock(clock.clone()).build(), clock)
});

roomz_webhook::store_contract!(compact_with_manual_clock, async {
    let clock = ManualClock::new();
    with_manual_clock(CompactStore::builder().with_clock(clock.clone()).build(), clock)
});

// Both stores have the same clock. A busy machine may stop this process for a second.
roomz_webhook::store_contract!(moka_with_real_clock, async {
    let store = MokaStore::builder().with_capacity(500).with_max_in_flight(250).build();
    StoreUnderTest::new(store).with_rounds(100).with_short_lease(Duration::from_secs(2))
});

fn with_manual_clock(store: impl IdempotencyStore + Clone, clock: ManualClock) -> StoreUnderTest {
    StoreUnderTest::new(store.clone())
        .with_peer(store)
        .with_advance(move |by| clock.advance(by))
        .with_rounds(rounds(2_000, 20_000))
}
