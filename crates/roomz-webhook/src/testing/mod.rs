//! For tests: a clock that you move, the suite that every store must pass, and deliveries signed as ROOMZ would.
//!
//! A store of your own is checked with a few lines in its tests; see [`store_contract!`](crate::store_contract).

#[doc(hidden)]
pub mod contract;
mod manual_clock;
mod subject;

pub use self::manual_clock::ManualClock;
pub use self::subject::Subject;

pub use roomz_protocol::testing::{TestEvent, signed_request};
