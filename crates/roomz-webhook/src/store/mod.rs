//! Where claims are kept: the trait [`IdempotencyStore`], its types, and the default [`MokaStore`].
//!
//! # Which store in memory
//!
//! Use [`MokaStore`], the default, for up to a million ids. For more in one process, enable the feature
//! `compact` and use `CompactStore`: the same contract, in a quarter of the memory. Both forget everything on
//! restart. To share claims between processes or to keep them, use `roomz-sql` or `roomz-redis`.
//!
//! | | `MokaStore` | `CompactStore` |
//! |---|---|---|
//! | memory of a remembered id | 338 bytes; 373 once the store is full | 83 bytes; 86 |
//! | a full store with the default capacity | 373 MB | 86 MB |
//! | an empty store | 0.7 MB | 0.1 MB |
//! | a claim and its completion, while the store grows | 1.1 µs | 0.5 µs |
//! | a claim and its completion, full | 2.0 µs | 0.8 µs |
//! | 8 tasks on 2 cores, against 1 task | 1.0 times as many | 1.3 times as many |
//! | a duplicate | makes its id the newest | changes nothing |
//!
//! Measured with `figures stores` of the benchmarks: times on two idle cores, memory beside other work.
//! Memory is taken as ids arrive, in steps: the tables of all shards double at about the same number of ids.
//! Plan for a full store. The memory of expired ids is freed at most 10 min later, when further ids
//! arrive; the sweep of one shard of some 130 000 ids blocks a thread for some ten milliseconds.

mod call;
mod connect_error;
mod error;
mod idempotency;
mod key;
mod memory;

/// The macro with which [`IdempotencyStore`] is implemented.
pub use async_trait::async_trait;

pub(crate) use self::call::TimedStore;
pub use self::connect_error::{ConnectError, ConnectErrorKind};
pub use self::error::{StoreError, StoreErrorKind};
pub(crate) use self::idempotency::OwnerUpdate;
pub use self::idempotency::{Claim, ClaimRequest, ClaimState, IdempotencyStore, Settled};
pub use self::key::{ClaimKey, Fingerprint, Owner};
#[cfg(feature = "compact")]
pub use self::memory::CompactStore;
pub use self::memory::{InMemoryBuilder, MokaStore};
