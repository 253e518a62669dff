//! Where claims are kept: the trait [`IdempotencyStore`], its types, and the default [`MokaStore`].

mod call;
#[cfg(feature = "compact")]
mod compact;
mod connect_error;
mod error;
mod idempotency;
mod key;
mod memory;
mod moka;

/// The macro with which [`IdempotencyStore`] is implemented.
pub use async_trait::async_trait;

pub(crate) use self::call::call_store;
#[cfg(feature = "compact")]
pub use self::compact::CompactStore;
pub use self::connect_error::{ConnectError, ConnectErrorKind};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::idempotency::{Claim, ClaimRequest, ClaimState, IdempotencyStore, Settled};
pub use self::key::{ClaimKey, Fingerprint, Owner};
pub use self::memory::InMemoryBuilder;
pub use self::moka::MokaStore;
