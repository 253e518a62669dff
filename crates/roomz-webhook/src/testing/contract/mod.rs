//! What every [`IdempotencyStore`](crate::IdempotencyStore) must do, one function for each sentence; they are named by
//! [`store_contract!`](crate::store_contract).
//!
//! Every function uses ids of its own, so they may run side by side on one database.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a sentence that does not hold panics"
)]

mod case;
mod races;
mod states;
mod time;

use std::future::Future;

pub use self::races::*;
pub use self::states::*;
pub use self::time::*;

/// Makes one test of each sentence of the contract, in a module of the given name.
///
/// The second argument is a future that makes a [`Subject`](crate::testing::Subject); it is run anew for each test. A
/// new version of this crate may add sentences. It may also give `Option<Subject>`: with `None`, where there is no
/// server to test with, the tests do nothing.
///
/// ```
/// # struct MyStore(roomz_webhook::store::MokaStore);
/// # impl MyStore { async fn open() -> Self { Self(roomz_webhook::store::MokaStore::new()) } }
/// # #[async_trait::async_trait]
/// # impl roomz_webhook::store::IdempotencyStore for MyStore {
/// #     async fn claim(&self, k: &roomz_webhook::store::ClaimKey, c: &roomz_webhook::store::ClaimRequest)
/// #         -> Result<roomz_webhook::store::Claim, roomz_webhook::store::StoreError> { todo!() }
/// #     async fn renew(&self, k: &roomz_webhook::store::ClaimKey, o: roomz_webhook::store::Owner, l: std::time::Duration)
/// #         -> Result<roomz_webhook::store::Settled, roomz_webhook::store::StoreError> { todo!() }
/// #     async fn complete(&self, k: &roomz_webhook::store::ClaimKey, o: roomz_webhook::store::Owner, r: std::time::Duration)
/// #         -> Result<roomz_webhook::store::Settled, roomz_webhook::store::StoreError> { todo!() }
/// #     async fn release(&self, k: &roomz_webhook::store::ClaimKey, o: roomz_webhook::store::Owner)
/// #         -> Result<roomz_webhook::store::Settled, roomz_webhook::store::StoreError> { todo!() }
/// # }
/// use roomz_webhook::testing::Subject;
///
/// roomz_webhook::store_contract!(my_store, async {
///     Subject::new(MyStore::open().await).with_peer(MyStore::open().await)
/// });
/// ```
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $subject:expr $(,)?) => {
        mod $name {
            use super::*;

            $crate::store_contract! { @tests $subject;
                a_peer_sees_what_the_other_claimed
                the_first_claim_wins_as_attempt_one
                a_live_claim_is_in_flight_for_everybody_else
                a_finished_event_is_done_for_everybody
                an_owner_that_asks_again_after_a_takeover_is_told_to_wait
                a_finished_event_is_forgotten_after_its_retention_and_not_before
                the_retention_counts_from_the_completion
                a_claim_whose_lease_is_over_is_taken_over_as_the_next_attempt
                an_abandoned_claim_is_remembered_for_its_retention_and_then_forgotten
                a_renewed_claim_outlives_its_retention
                a_lease_longer_than_the_retention_is_kept
                what_comes_after_the_retention_is_a_new_event
                what_has_expired_can_be_settled_by_nobody
                a_released_event_is_free_at_once_and_its_attempts_are_counted_on
                a_released_event_is_remembered_for_its_retention
                a_renewal_moves_the_end_of_the_lease
                a_renewal_can_shorten_a_lease
                the_remaining_time_is_that_of_the_lease_that_runs
                asking_does_not_prolong_a_lease
                after_the_lease_the_owner_may_still_settle_if_nobody_took_over
                a_stranger_can_neither_renew_nor_complete_nor_release
                a_stale_owner_has_lost
                what_was_never_claimed_cannot_be_settled
                a_finished_event_can_be_neither_renewed_nor_released
                a_released_event_can_be_settled_by_nobody
                a_claim_whose_reply_was_lost_is_claimed_again
                a_completion_whose_reply_was_lost_is_applied_again
                another_body_is_marked_in_every_state
                namespaces_do_not_see_each_other
                ids_that_differ_in_one_bit_are_two_events
                exactly_one_of_many_claims_wins
                exactly_one_takes_over_when_a_lease_ends
                exactly_one_takes_over_after_a_release
                exactly_one_claims_what_has_expired
                a_completion_and_a_takeover_exclude_each_other
                a_release_and_a_takeover_exclude_each_other
                a_renewal_and_a_takeover_exclude_each_other
                an_operation_dropped_halfway_happened_or_did_not
            }
        }
    };
    (@tests $subject:expr; $($sentence:ident)*) => {
        $(
            #[test]
            fn $sentence() {
                $crate::testing::contract::run(async {
                    let subject = ::core::option::Option::<$crate::testing::Subject>::from($subject.await);
                    if let ::core::option::Option::Some(subject) = subject {
                        $crate::testing::contract::$sentence(&subject).await;
                    }
                });
            }
        )*
    };
}

/// Runs one test on a runtime of its own.
pub fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("no runtime could be started: {error}"),
    }
}
