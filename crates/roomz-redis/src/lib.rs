//! The claims of [`roomz_webhook`] in Redis or Valkey: all instances of a receiver share one truth, and a restart forgets
//! nothing that the server keeps.
//!
//! ```no_run
//! use roomz_redis::RedisStore;
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect("redis://127.0.0.1:6379").await?;
//! let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
//! let layer = WebhookLayer::builder(secret).with_store(store).build()?;
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! # How a claim is kept
//!
//! One hash for each event, under `roomz:NAMESPACE:ID` (see [`with_prefix`](RedisStoreBuilder::with_prefix)), changed by two
//! small Lua scripts, each of which touches that one key and is atomic. The key's time to live is the retention. Leases
//! are measured with the server's clock (`TIME`); a jump of that clock moves them. One server, or one with replicas: the
//! client of this version does not follow the redirections of a cluster.
//!
//! An operation is one round trip. A connection is shared by all requests. When it breaks, it is made again and the
//! operation repeated once, so that a connection that was closed while it was idle costs no delivery. It is also made again
//! when nothing comes back through it for as long as connecting and answering may take together (3.5 s by default). What
//! fails all the same is answered 503 with `Retry-After` by the layer.
//!
//! # What the server's settings mean for the promise
//!
//! | setting | effect |
//! |---|---|
//! | `maxmemory-policy` other than `noeviction` | the server may drop **live claims and handled ids** under memory pressure: duplicates run again. Use `noeviction`: a full server then refuses, and the layer answers 503. One id takes about 300 bytes (Redis 7.0) |
//! | no persistence | a restart of the server forgets everything, as the memory store does |
//! | RDB snapshots | a crash forgets what came after the last snapshot |
//! | AOF, `appendfsync everysec` | a crash forgets about the last second |
//! | AOF, `appendfsync always` | a crash forgets nothing that was answered |
//! | replicas with fail-over | replication is asynchronous: a fail-over forgets what had not been replicated. `WAIT` is not used, as it would not prevent that |
//!
//! What is forgotten is handled again when it is delivered again: at-least-once, as everywhere.
//!
//! Tested with Redis 6.0, 6.2, 7.0, 7.2 and 8.0, and Valkey 8.0, 8.1 and 9.1. An older version than Redis 6 is refused at
//! connecting.
//! Feature: `tls` (off) for `rediss://`.
//!
//! Needs Rust 1.95, the version it is tested with.

mod builder;
mod error;
mod link;
mod store;

pub use self::builder::RedisStoreBuilder;
pub use self::error::{ConnectError, ConnectErrorKind};
pub use self::store::RedisStore;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
