//! Stores the claims of [`roomz_webhook`] in Redis or Valkey.
//!
//! All instances of a receiver share the claims. A restart of an instance loses none; a restart of the server
//! loses what the server did not persist.
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
//! **Keep presence in a database too.** Durable claims with presence kept in memory lose the presence at a
//! restart, because handled events are not handled again. Each instance knows only the presence of the events
//! that it handled itself.
//!
//! # How claims are stored
//!
//! Each event is one string with the key `roomz:NAMESPACE:ID` (see
//! [`with_prefix`](RedisStoreBuilder::with_prefix)). `SET NX` claims a new event. Two Lua scripts do
//! everything else; each is atomic and touches only that key. The key's time to live holds the lease and the
//! retention. Leases are measured with the server's clock, so a jump of that clock moves them.
//!
//! # One server, Redis Cluster, or Redis Sentinel
//!
//! The scheme of the URL names the topology:
//!
//! | topology | URL |
//! |---|---|
//! | one server | `redis://USER:PASSWORD@HOST:PORT/DATABASE` |
//! | Redis Cluster | `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` with the addresses of some nodes |
//! | Redis Sentinel | `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE` with the addresses of the sentinels and the name of the master |
//!
//! - Only one host is required. With several, one that replies is enough to connect. The login applies to all
//!   nodes, and to sentinels that require one. Sentinels with another login, or with one that the master does
//!   not have, get it from the end of the URL: `?sentinel_username=USER&sentinel_password=PASSWORD`, percent
//!   encoded like the rest of the URL. Either may be left out.
//! - `rediss`, `rediss+cluster` and `rediss+sentinel` use TLS for all connections, and need the feature
//!   `tls`.
//! - A certificate must name the host of its URL. If nodes or a master announce an IP address, as in Azure,
//!   each certificate must name either this address or a host of the URL. For other names, let the nodes
//!   announce these (`cluster-announce-hostname`, `sentinel announce-hostnames`).
//! - `connect` checks each master, and rejects a URL that does not fit: the URL of one server that is a node
//!   of a cluster, or a sentinel, and the reverse. The message names the right URL.
//! - In a cluster, the store keeps one connection to each master and follows redirections. Slots can move
//!   while receivers run. When a master does not reply, the layer answers 503 for the events of its slots.
//!   If it has no replica, the cluster then rejects all slots (`CLUSTERDOWN`) within half a minute, unless
//!   `cluster-require-full-coverage` is `no`.
//! - After a failover, the store finds the new master without a restart: within about half a second in a
//!   cluster, and with sentinels within the time after which it reconnects (see below).
//! - **A failover can lose claims**, because replication is asynchronous. An event whose claim is lost may
//!   run again.
//!
//! # Connection and retries
//!
//! All requests share one connection (in a cluster, one per master), and an operation is one round trip. A
//! claim is two if the event is known or the server refuses writes.
//!
//! If the connection breaks, the store reconnects and retries the operation once, so a connection that was
//! closed while idle costs no delivery. Each operation can be repeated by its owner without another result.
//! The store also reconnects if it receives no reply for twice its [timeout](RedisStoreBuilder::with_timeout)
//! (3 s by default). With sentinels, it then asks them for the master. If an operation still fails, the layer
//! answers 503 with `Retry-After`.
//!
//! # Which claims the server can lose
//!
//! | setting | effect |
//! |---|---|
//! | `maxmemory` with a `maxmemory-policy` other than `noeviction` | The server may evict **live claims and handled ids** under memory pressure, and duplicates run again. `connect` rejects it, unless you call [`with_eviction_allowed`](RedisStoreBuilder::with_eviction_allowed). With `noeviction`, a full server rejects new events, and the layer answers 503. Claims are still renewed, completed and taken over: records do not grow, and the scripts write them although the limit is reached. One id takes about 215 bytes (Redis 7.0). |
//! | no persistence | A restart of the server loses everything, like the memory store. |
//! | RDB snapshots | A crash loses what was written after the last snapshot. |
//! | AOF, `appendfsync everysec` | A crash loses about the last second. |
//! | AOF, `appendfsync always` | A crash loses nothing that the server acknowledged. |
//! | replicas with failover | Replication is asynchronous: a failover loses what was not yet replicated. The store does not use `WAIT`, which would not prevent this. |
//!
//! If a claim is lost and its event is delivered again, the handler runs again: delivery is at least once.
//!
//! # Log
//!
//! Through `tracing`, with targets that begin with `roomz_redis`. A failed operation of the layer is in [its
//! log](roomz_webhook::docs::logs).
//!
//! | message | level | fields |
//! |---|---|---|
//! | `Redis server full`, from `connect` | WARN | `hint` |
//! | `Redis server can evict live claims`, from `connect` | WARN | `policy`, `hint` |
//! | `version and eviction policy of the Redis server unknown`, from `connect` | WARN | `hint` |
//! | `slots of the Redis Cluster unknown` | WARN | `error`, `hint` |
//!
//! # Versions
//!
//! Tested with Redis 7.0, alone, in a cluster and with sentinels. Redis 6.2 and Valkey 9.1.2 were tested with
//! an earlier version only. RDB files go from Redis 7.0 to Valkey, not back, and not from Redis 7.4.
//! `connect` rejects servers older than Redis 6.0.
//!
//! redis 1.x is part of the public API (`redis::Client` converts into [`Server`]), so a new major version of
//! redis is a breaking change of this crate.
//!
//! Feature `tls` (off by default): `rediss` URLs, with rustls and the certificates of the operating system.
//! For servers with a certificate of a private authority, call
#![cfg_attr(feature = "tls", doc = "[`with_root_certificate`](RedisStoreBuilder::with_root_certificate).")]
#![cfg_attr(not(feature = "tls"), doc = "`with_root_certificate`.")]
//! If the application has not selected a cryptography provider of rustls, the store selects aws-lc-rs.
//!
//! Needs Rust 1.88.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod check;
mod cluster;
mod connection;
mod endpoint;
mod errors;
mod record;
mod sentinel;
mod server;
mod store;
mod url;

pub use self::builder::RedisStoreBuilder;
pub use self::server::Server;
pub use self::store::RedisStore;
pub use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
