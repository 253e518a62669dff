//! Stores the claims of [`roomz_webhook`] in PostgreSQL or SQLite.
//!
//! All instances of a receiver share the claims, and a restart loses none.
//!
//! ```no_run
//! use roomz_sql::SqlStore;
//! use roomz_webhook::{Secret, WebhookLayer};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqlStore::connect("postgres://user:password@localhost/floors").await?;
//!
//! let secret = Secret::from_env("ROOMZ_WEBHOOK_SECRET")?;
//! let layer = WebhookLayer::builder(secret).with_store(store).build()?;
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! SQLite needs no server and serves a few processes on one machine: use the URL
//! `sqlite:///var/lib/floors/claims.db`.
//!
//! # Completing in your transaction
//!
//! If your handler writes to the database that also holds the claims, complete the event in the handler's
//! transaction. The effect and the completion are then one commit: a crash leaves both or neither, and the
//! effect happens once. This is the recommended way for a handler that writes to SQL. [`PresenceTable`] keeps
//! the latest status of each workspace, so that a restart does not lose the presence, and all instances show
//! the same:
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # mod example {
//! use roomz_sql::PresenceTable;
//! use roomz_webhook::{Delivery, WorkspacePresenceChanged};
//!
//! async fn record(pool: &sqlx::PgPool, delivery: &Delivery) -> Result<(), Box<dyn std::error::Error>> {
//!     let Some(event) = delivery.event().typed::<WorkspacePresenceChanged>() else { return Ok(()) };
//!     let mut transaction = pool.begin().await?; // SQLite: pool.begin_with("BEGIN IMMEDIATE")
//!     PresenceTable::new(delivery.namespace()).apply(&mut *transaction, &event).await?;
//!     roomz_sql::complete(&mut *transaction, delivery).await?;
//!     transaction.commit().await?;
//!     Ok(())
//! }
//! # }
//! ```
//!
//! If the transaction is rolled back, the event is not completed: return an error, and the redelivery runs
//! the handler again. An attempt that lost its claim to another delivery gets the error
//! [`CompleteErrorKind::Lost`]. Without such a transaction, a crash between your commit and the completion
//! runs the handler again.
//!
//! - Open the pool with [`postgres_options`] or [`sqlite_options`] of the store's URL, so that it accepts
//!   what the store accepts, for example a pooler. Connect the store first: it creates the file of SQLite.
//! - After the commit, the event is done, whatever the handler answers: its duplicates get a 200.
//! - The commit is as durable as the settings of your pool. With SQLite, use `WAL` and `synchronous = FULL`.
//! - In PostgreSQL, set `idle_in_transaction_session_timeout`. Otherwise the locks of a process that is
//!   paused in its transaction block the event until the process continues.
//! - On SQLite, an open transaction locks the whole file, and no other event is claimed. Do everything slow
//!   before it.
//!
//! For slow work, `roomz-inbox` answers first and runs the handler later, in such a transaction too.
//!
//! # How claims are stored
//!
//! Each event is one row in the table `roomz_claims`. `connect` creates the tables that are missing;
//! [`POSTGRES_MIGRATIONS`] and [`SQLITE_MIGRATIONS`] are their SQL, to run it yourself.
//!
//! A claim is one statement that inserts the row or takes it over. Only if another owner holds the event, a
//! second statement reads its state. Renewal, completion and release are one statement each. Leases are
//! measured with the database's clock, so a jump of that clock moves them.
//!
//! The store has a few connections, each with a task. While all are busy, operations wait, and the next free
//! task executes up to 128 of one type in one transaction. No caller gets an answer before that transaction
//! is durable. So the throughput grows with the load. If a batch fails, it is halved until the operation that
//! fails is alone. An operation whose row is locked by another session tries again later, so that it does not
//! delay the others.
//!
//! A background task deletes expired rows every 10 min, in small batches with pauses
//! ([`with_purge_interval`](SqlStoreBuilder::with_purge_interval)). Expired rows count as absent.
//!
//! A claim sets an expiry that is later by a thousandth of the retention (10 min of 7 days), and its
//! completion keeps that expiry. So an event is remembered for up to that much longer. If the handler takes
//! less than this time, the completion writes no index entries.
//!
//! # A user with few permissions
//!
//! A user who may not create tables can connect once they exist: let their owner connect first, or run
//! [`POSTGRES_MIGRATIONS`]. The user needs these permissions, which `connect` tests:
//!
//! ```sql
//! GRANT SELECT, INSERT, UPDATE, DELETE ON roomz_claims, roomz_presence TO floors;
//! GRANT SELECT ON roomz_migrations TO floors;
//! -- For an inbox, the two above and
//! GRANT SELECT, INSERT, UPDATE, DELETE ON roomz_inbox TO floors;
//! ```
//!
//! # Which claims a crash can lose
//!
//! | PostgreSQL | effect |
//! |---|---|
//! | default settings | A crash loses nothing that was acknowledged. |
//! | `synchronous_commit = off` | A crash loses up to three times `wal_writer_delay` (0.6 s by default). |
//! | `fsync = off` | A crash of the machine can lose or corrupt anything. |
//! | failover to a replica | Loses what was not yet replicated, unless `synchronous_standby_names` waits for the replica. |
//! | a synchronous replica is missing | Commits hang, and no limit of the server ends them. The store gives up after its response timeout; the layer answers 503. |
//!
//! | SQLite | effect |
//! |---|---|
//! | from a URL: `WAL`, `synchronous = FULL`, one connection | A crash loses nothing that was acknowledged. |
//! | existing pool with `synchronous = NORMAL` | A power failure loses the last claims. |
//! | file on a network drive | Not supported: SQLite's locks do not work there. `connect` rejects a file that cannot use `WAL`. |
//!
//! If a claim is lost and its event is delivered again, the handler runs again: delivery is at least once.
//!
//! # Timeouts and failures
//!
//! PostgreSQL stops a statement after 1.5 s
//! ([`with_response_timeout`](SqlStoreBuilder::with_response_timeout)). A whole operation times out after
//! 1.25 times that; then the layer answers 503 with `Retry-After`. An operation on a connection that breaks
//! runs once more on a new connection, except a release.
//!
//! When one connection breaks or does not reply, every connection without a reply since then is replaced
//! before its next use. If the server cannot be reached or accepts no writes, one task at a time tries to
//! connect, at first after 50 ms, later every second. Idle connections are tested every 30 s.
//!
//! # Log
//!
//! Through `tracing`, with targets that begin with `roomz_sql`. A failed operation of the layer is in [its
//! log](roomz_webhook::docs::logs).
//!
//! | message | level | fields |
//! |---|---|---|
//! | `deleting expired claims failed` | WARN | `error` |
//! | `parameter of the PostgreSQL URL ignored` | WARN | `parameter` |
//! | `PostgreSQL behind a pooler: statements are sent without session state` | INFO | |
//! | `expired claims deleted` | DEBUG | `deleted` |
//!
//! # PostgreSQL behind a pooler
//!
//! A `postgres://` URL may lead to PgBouncer in session or transaction mode, with its default settings.
//! `connect` detects a pooler, because PostgreSQL keeps the session settings that it sends and a pooler does
//! not. Statements then go as text with their settings in front of them, in one message, and need no session
//! state and no prepared statement.
//!
//! After a failed connection to PostgreSQL, PgBouncer waits 15 s before the next (`server_login_retry`).
//! Deliveries get a 503 in that time; set it to 1 s.
//!
//! The URL parameter `options` does not work through a pooler: `connect` rejects it. Set such values with
//! `ALTER ROLE … SET`.
//!
//! Pgpool-II with load balancing works, too: a comment in front of each statement keeps it on the primary
//! server. With `allow_sql_comments = on`, Pgpool-II ignores the comment: set `load_balance_mode = off` then.
//!
//! # Existing pools
//!
//! With a pool of your application, each batch borrows a connection and uses statements as text, as through a
//! pooler. This costs throughput, mostly for single operations: the server parses each statement, and the
//! pool tests a connection before it lends it. Use a URL if claims are a considerable part of the load.
//!
//! Your application may return a connection inside a transaction: sqlx 0.9 itself does when a future is
//! dropped while it begins one. The store rolls that transaction back before it executes anything, and closes
//! the connection afterwards. It also ignores what the application changed in a session of PostgreSQL since
//! `connect`: the role, `search_path`, `default_transaction_read_only`, the isolation level, timeouts, and
//! encodings. It keeps the role and the `search_path` that it finds in `connect`, for example of
//! `after_connect`. A session with `synchronous_commit = off` stays less durable.
//!
//! # Limits
//!
//! - PostgreSQL finds the table by the `search_path`: instances with different paths use different tables.
//! - SQLite does not serve writers in order: a few processes work well, many may receive a 503. A process
//!   that is stopped (`SIGSTOP`) while it writes blocks the others until it continues or ends.
//! - The connections belong to the tokio runtime that called `connect`. When it shuts down, operations fail.
//!
//! # Versions
//!
//! Tested with PostgreSQL 15, PgBouncer 1.18, Pgpool-II 4.3.5 and with the bundled SQLite 3.51; an earlier
//! version with PostgreSQL 18.6. `connect` rejects PostgreSQL older than 13 and, in an existing pool, SQLite
//! older than 3.42. It rejects a PostgreSQL database whose encoding is neither `UTF8` nor `SQL_ASCII`.
//!
//! sqlx 0.9 is part of the public API: `PgPool` and `SqlitePool` convert into [`Database`]. A new minor
//! version of sqlx is a breaking change of this crate. Depend on sqlx 0.9 yourself to create a pool.
//!
//! | feature | |
//! |---|---|
//! | `postgres` (on) | PostgreSQL |
//! | `sqlite` (on) | SQLite, compiled in: needs a C compiler |
//! | `tls` (off) | encrypted connections to PostgreSQL, with rustls and Mozilla's certificates |
//!
//! Needs Rust 1.94, because sqlx 0.9 does.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("roomz-sql needs the feature `postgres` or the feature `sqlite`");

mod builder;
mod claims;
mod connection;
#[doc(hidden)]
pub mod db;
mod presence;

pub use self::builder::SqlStoreBuilder;
#[doc(hidden)]
pub use self::builder::tests;
pub use self::claims::{CompleteError, CompleteErrorKind, SqlStore, complete};
pub use self::connection::SqlConnection;
pub use self::db::connect::Database;
#[cfg(feature = "postgres")]
pub use self::db::postgres::{POSTGRES_MIGRATIONS, postgres_options};
#[cfg(feature = "sqlite")]
pub use self::db::sqlite::{SQLITE_MIGRATIONS, sqlite_options};
pub use self::presence::{PresenceChanges, PresencePoint, PresenceTable, WorkspacePresence};
pub use roomz_webhook::store::{ConnectError, ConnectErrorKind};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
