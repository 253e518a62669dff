//! Support for tests with real servers: servers that a test can stop, a proxy that fails, receivers and
//! workers in processes of their own, and a sender that retries.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::unwrap_used,
    reason = "support of tests, not a public API"
)]

pub mod counting;
mod effort;
pub mod fleet;
pub mod inbox;
pub mod proxy;
pub mod recorder;
pub mod sender;
mod servers;
pub mod transactions;

/// The examples of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

use roomz_webhook::Secret;

pub use self::effort::{few_at_a_time, not_permitted, rounds, skipped};
pub use self::servers::{
    Authority, RedisCluster, RedisSentinels, Server, poll, postgres_url_or_skip, promtool_or_skip,
    redis_cluster_url_or_skip, redis_sentinel_url_or_skip, redis_url_or_skip,
};

/// The webhook secret of every test.
pub fn secret() -> Secret {
    Secret::new("the webhook secret").unwrap()
}
