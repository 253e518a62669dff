//! Where claims are kept: the trait [`IdempotencyStore`], its types, and the default [`MemoryStore`].

mod call;
mod connect_error;
mod error;
mod idempotency;
mod key;
mod memory;
mod memory_builder;
mod memory_key;
mod memory_limit;
mod memory_shard;

/// The macro with which [`IdempotencyStore`] is implemented.
pub use async_trait::async_trait;

pub(crate) use self::call::call_store;
pub use self::connect_error::{ConnectError, ConnectErrorKind};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::idempotency::{Claim, ClaimRequest, ClaimState, IdempotencyStore, Settled};
pub use self::key::{ClaimKey, Fingerprint, Owner};
pub use self::memory::MemoryStore;
pub use self::memory_builder::MemoryStoreBuilder;
