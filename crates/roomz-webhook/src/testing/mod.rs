//! Test support: a manual clock, the contract suite for stores, and deliveries signed as ROOMZ signs them.
//!
//! To test your own store, see [`store_contract!`](crate::store_contract).

#[doc(hidden)]
pub mod contract;
mod manual_clock;
mod store_under_test;

pub use self::manual_clock::ManualClock;
pub use self::store_under_test::StoreUnderTest;

pub use roomz_protocol::testing::{TestEvent, signed_request};
