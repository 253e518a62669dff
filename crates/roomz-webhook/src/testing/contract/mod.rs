//! The functions that [`store_contract!`](crate::store_contract) calls: one for each requirement of an
//! [`IdempotencyStore`](crate::store::IdempotencyStore).
//!
//! Each function uses its own ids, so all of them can run concurrently on one database.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a requirement that is not met panics"
)]

mod case;
mod races;
mod states;

use std::future::Future;

pub use self::races::*;
pub use self::states::*;

/// Defines one test for each requirement of an `IdempotencyStore`, in a module of the given name.
///
/// The second argument is a future that creates a [`StoreUnderTest`](crate::testing::StoreUnderTest). It runs
/// once per test. It may also return `Option<StoreUnderTest>`: with `None`, for example without a server, the
/// tests pass without doing anything. A new minor version of this crate may add tests.
///
/// Two tests fill the store, with 1 000 live claims and with 1 000 handled events. Give a store that has
/// limits lower ones, for example 250 live claims, 500 handled events and 100
/// [rounds](crate::testing::StoreUnderTest::with_rounds), and new data for each test.
///
/// ```
/// use roomz_webhook::store::MokaStore;
/// use roomz_webhook::testing::StoreUnderTest;
///
/// roomz_webhook::store_contract!(memory_store, async {
///     // A store on a server opens a second connection for the peer.
///     let store = MokaStore::new();
///     StoreUnderTest::new(store.clone()).with_peer(store)
/// });
/// ```
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $store:expr $(,)?) => {
        mod $name {
            use super::*;

            $crate::store_contract! { @tests $store;
                shares_claims_between_instances in_flight_reports_remaining_lease
                completed_event_stays_done stale_owner_loses attempts_are_counted
                owner_settles_after_lease_without_takeover only_owner_settles
                repeated_claim_keeps_attempt
                live_claim_outlives_retention retention_starts_at_completion
                unfinished_event_expires_after_retention expired_event_is_new_again
                reports_fingerprint_mismatch_in_every_state full_store_keeps_live_claims
                oldest_done_events_leave_first namespaces_are_separate compares_every_bit_of_id
                one_of_many_claims_wins one_takeover_when_lease_ends one_takeover_after_release
                one_claim_of_expired_event completion_excludes_takeover release_excludes_takeover
                renewal_excludes_takeover dropped_operation_is_atomic
            }
        }
    };
    (@tests $store:expr; $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::contract::run(async {
                    let store = ::core::option::Option::<$crate::testing::StoreUnderTest>::from($store.await);
                    if let ::core::option::Option::Some(store) = store {
                        $crate::testing::contract::$test(&store).await;
                    }
                });
            }
        )*
    };
}

/// Runs one test on its own runtime.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("cannot start a runtime: {error}"),
    }
}
