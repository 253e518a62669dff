//! The claims of [`roomz_webhook`] in PostgreSQL or SQLite: all instances of a receiver share one truth, and a restart
//! forgets nothing.
//!
//! ```no_run
//! use std::time::Duration;
//! use roomz_sql::SqlStore;
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqlStore::connect("postgres://user:password@localhost/floors").await?;
//! // Expired claims are removed by whoever you let do it.
//! tokio::spawn(store.clone().purge_every(Duration::from_secs(10 * 60)));
//!
//! let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
//! let layer = WebhookLayer::builder(secret).with_store(store).build()?;
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! With SQLite, `sqlite:///var/lib/floors/claims.db` instead: one machine, a few processes, and no server.
//!
//! # How a claim is kept
//!
//! One row for each event in the table `roomz_claims`, which is made at connecting if it is not there;
//! [`MIGRATIONS`] is its SQL, for a team that runs its own. A claim is one statement that inserts or takes over, and,
//! only where somebody else has the event, a second one that says who is first. Renewal, completion and release are one
//! statement each, and each statement is a transaction of its own. Leases are measured with the database's clock; a jump of that
//! clock moves them.
//!
//! **Nothing removes expired rows but [`purge`](SqlStore::purge)** and [`purge_every`](SqlStore::purge_every). Without
//! them the table grows; what has expired counts as absent all the same.
//!
//! # What the database's settings mean for the promise
//!
//! | PostgreSQL | effect |
//! |---|---|
//! | as it comes | a crash forgets nothing that was answered |
//! | `synchronous_commit = off` | a crash forgets up to some tenths of a second |
//! | `fsync = off` | a crash of the machine may forget or break anything |
//! | a fail-over to a replica | forgets what had not been replicated, unless `synchronous_standby_names` waits for it |
//!
//! | SQLite | effect |
//! |---|---|
//! | as the store opens it: `WAL`, `synchronous = FULL`, one connection | a crash forgets nothing that was answered |
//! | a pool of yours with `synchronous = NORMAL` | a power failure forgets the last claims |
//! | a file on a network drive | SQLite's locks do not hold there: do not |
//!
//! What is forgotten is handled again when it is delivered again: at-least-once, as everywhere.
//!
//! # When the database is slow or away
//!
//! A statement has 1.5 s on the server ([`with_response_timeout`](SqlStoreBuilder::with_response_timeout)) and an
//! operation a quarter more in all; then the layer answers 503 with `Retry-After`. A connection that did not answer is
//! closed, not put back. One that broke is replaced within the same operation.
//!
//! # Limits
//!
//! - A pooler that shares connections between transactions is refused at connecting; one that keeps a connection for a
//!   session is fine.
//! - A pool of yours must have `READ COMMITTED` transactions, which is PostgreSQL's default.
//! - The table is found by the `search_path`: instances whose paths differ have different tables.
//! - SQLite is not fair to its writers: a few processes are well served, many may see a 503.
//!
//! Tested with PostgreSQL 13 to 18, and the SQLite 3.51 that is compiled in. PostgreSQL older than 13 is refused at connecting.
//!
//! | feature | |
//! |---|---|
//! | `postgres` (on) | PostgreSQL |
//! | `sqlite` (on) | SQLite, compiled in: needs a C compiler |
//! | `tls` (off) | encrypted connections to PostgreSQL, with rustls and Mozilla's certificates |
//!
//! Needs Rust 1.95, the version it is tested with.

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("roomz-sql needs the feature `postgres` or the feature `sqlite`");

mod builder;
mod database;
mod error;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod prepare;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
mod store;

pub use sqlx;

pub use self::builder::SqlStoreBuilder;
pub use self::database::Database;
pub use self::error::{ConnectError, ConnectErrorKind};
pub use self::prepare::MIGRATIONS;
pub use self::store::SqlStore;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
