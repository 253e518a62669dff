//! A durable inbox for the events of [`roomz_webhook`]: acknowledge first, process later.
//!
//! The endpoint answers 202 as soon as the event is durable in PostgreSQL or SQLite. A worker then runs your
//! handler, and commits its effect and the completion of the event in one transaction.
//!
//! ```no_run
//! use axum::{Router, routing::post_service};
//! use roomz_axum::{Secret, WebhookLayer};
//! use roomz_inbox::{BoxError, Inbox, Job, WorkspacePresenceChanged};
//!
//! # #[cfg(feature = "postgres")]
//! async fn handle(mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
//!     let (id, data) = (job.event().id, job.event().data.clone());
//!     sqlx::query("INSERT INTO visits (event_id, workspace_id) VALUES ($1, $2)")
//!         .bind(id.to_string())
//!         .bind(data.workspace_id.to_string())
//!         .execute(job.postgres().await?)
//!         .await?;
//!     Ok(())
//! }
//!
//! # #[cfg(feature = "postgres")]
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let inbox = Inbox::connect("postgres://user:password@localhost/floors").await?;
//!     let worker = inbox.worker(tower::service_fn(handle)).start();
//!
//!     let webhook = WebhookLayer::new(Secret::from_env("ROOMZ_WEBHOOK_SECRET")?);
//!     let app = Router::new().route("/webhooks/roomz", post_service(inbox.endpoint()).layer(webhook.clone()));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     let served = roomz_axum::serve(listener, app, webhook).await;
//!     worker.shutdown(std::time::Duration::from_secs(20)).await;
//!     Ok(served?)
//! }
//! # #[cfg(not(feature = "postgres"))]
//! # fn main() {}
//! ```
//!
//! For SQLite, use the URL `sqlite:///var/lib/floors/inbox.db` and [`Job::sqlite`]. The layer can keep its
//! default store in memory: after a restart, and between instances, the inbox itself detects duplicates.
//!
//! With gRPC on the same port, serve the endpoint outside tonic's own server, which can answer a delivery 200
//! before the event is stored, and answer unknown paths with 404: see
//! [`roomz_webhook`](roomz_webhook::docs::composing#tonic).
//!
//! # How an event moves
//!
//! | state | meaning | next |
//! |---|---|---|
//! | waiting | Its next attempt is due, now or later. | A worker takes it: *running*. |
//! | running | A worker runs its handler, under a lease of 60 to 90 s that it renews. | Handled: *done*. Failed: *waiting* until the backoff ends, or *dead* after the last attempt. Shutdown of the worker: *waiting*. Lease over: the next worker takes it. |
//! | done | It was handled, or discarded. | Deleted after the [retention](InboxBuilder::with_retention), 7 days. |
//! | dead | It is a dead letter. | [Retried](Inbox::retry): *waiting*. [Discarded](Inbox::discard): *done*. Deleted after [30 days](WorkerBuilder::with_dead_letter_retention). |
//!
//! An attempt fails if the handler returns an error, panics, exceeds its
//! [timeout](WorkerBuilder::with_handler_timeout) (5 min), if its transaction cannot commit, or if the worker
//! cannot read the event or does not handle its type: during a rolling update, another worker may. The pause
//! before the next attempt starts at 1 s and doubles up to 1 h
//! ([`with_backoff`](WorkerBuilder::with_backoff)). Its end is stored, so a restart does not change it.
//!
//! An event becomes a dead letter after [25 attempts](WorkerBuilder::with_max_attempts), or after a failed
//! attempt at an age of [3 days](WorkerBuilder::with_max_age). Attempts count when a worker takes the event,
//! so one that ends its process becomes a dead letter, too. Alert on `roomz_inbox_events{state="dead"}`, and
//! use [`Inbox::list`] or the command `roomz inbox` to see why.
//!
//! # Guarantees
//!
//! - **An admitted event is not lost.** The 202 is sent after the commit of the event. It leaves the inbox
//!   when it is done, when you discard it, or when it was a dead letter for 30 days. It survives a crash as
//!   far as your database's commits do: [`roomz_sql`] lists [the settings that
//!   matter](roomz_sql#which-claims-a-crash-can-lose).
//! - **What the handler writes into its transaction takes effect exactly once.** The completion is part of
//!   the same commit, and only the current owner of the event can complete it. A worker that was suspended
//!   for longer than its lease, and whose event another worker took over, cannot commit: its transaction is
//!   rolled back.
//! - **What the handler does elsewhere happens at least once.** A request to another service is repeated if
//!   the process dies after it, or if a later part of the attempt fails. Pass the event's id on, so that the
//!   other side can detect repetitions. [`Job::attempt`] is above 1 if an earlier attempt began.
//! - **Duplicates are detected while the inbox has the event**: until 7 days after it was done. A redelivery
//!   after that is a new event. The inbox compares ids, not bodies.
//!
//! Events run in no particular order, also those of one workspace: several run at once, and failed ones run
//! later. This needs no attention if the effect decides by time: [`roomz_sql::PresenceTable`] keeps the
//! status with the newest timestamp, whatever the order. Apply it to the connection of the job.
//!
//! # Handlers
//!
//! A handler is a `tower::Service` of [`Job`], or an `async fn` in `tower::service_fn`. The transaction
//! begins with the first call of [`Job::postgres`] or [`Job::sqlite`]; call slow services before. The worker
//! commits when the handler returns `Ok`, and rolls back otherwise. A handler that needs no transaction can
//! just return `Ok`.
//!
//! The worker runs up to 10 events at once ([`with_concurrency`](WorkerBuilder::with_concurrency)). It
//! prefetches more, as many as its handlers start within about 20 ms and 256 at most. An event that
//! waited 250 ms for a handler is given back, so a slow handler holds no other event. If the process dies,
//! the events that it prefetched wait for the end of their lease, and each has used one attempt. An event
//! that ends its process each time must not use up the attempts of others: so the worker prefetches nothing
//! if [`with_max_attempts`](WorkerBuilder::with_max_attempts) is three or less, or while it finds events that
//! have had an attempt.
//!
//! Several workers, also in several processes, can share an inbox. Any of them can take any event, and an
//! attempt by one that does not handle the type fails. So workers that are updated one after the other
//! lose nothing, and workers for different types need an inbox each.
//!
//! At the end, stop the server, call `drain` of the layer with a timeout, as `roomz_axum::serve` does, and
//! then [`Worker::shutdown`]: it takes no more events, waits for running handlers, and makes the events of
//! the others available to other workers at once.
//!
//! # Limits
//!
//! - **SQLite has one writer.** While the transaction of one handler is open, no other handler writes, no
//!   event is admitted (after 2 s, deliveries get a 503), and no lease is renewed. A delivery waits for a
//!   few transactions, however many handlers wait: keep each below a third of a second.
//! - **SQLite syncs the transactions of several handlers at once.** The commit of a handler waits for no
//!   sync to disk. A second commit confirms the completions that wait, and syncs all of them: then the events
//!   count as done in the log and the metrics, or after a lease without a confirmation. If the power fails
//!   between the two, the effect is undone with its completion, and the event runs again. Other connections,
//!   and [`Inbox::get`], see the effect and the completion before they are synced: what sends messages from
//!   an outbox table can send one twice. A process that dies loses nothing. An existing pool keeps its own
//!   `synchronous`, and its commits are not confirmed.
//! - **PostgreSQL: a connection for each open transaction.** Set
//!   [`with_max_connections`](InboxBuilder::with_max_connections) to at least two more than the concurrency.
//!   Default: 13.
//! - **A silent connection is replaced.** When a connection breaks or does not reply within 1.5 s, every
//!   connection without a reply since then is replaced before its next use. An existing pool tests its
//!   connections by itself.
//! - **Workers in other processes poll.** A worker in the process of the endpoint is woken for a new event.
//!   Others look for events 25 ms after they found some, and then in pauses that double up to 500 ms
//!   ([`with_poll_interval`](WorkerBuilder::with_poll_interval)).
//! - **A full inbox answers 503.** It is full at 1 000 000 open events
//!   ([`with_max_open`](InboxBuilder::with_max_open)), counted about once per second without dead letters, or
//!   while 4 096 events of one process wait for the database. While the count fails, it is not full.
//! - **PostgreSQL keeps dead rows while a session has an old snapshot**: a long transaction, a dump, a
//!   replication slot, a standby with `hot_standby_feedback`. Counting, listing and deleting events then
//!   reads their index entries too and becomes slow, and may exceed its timeout; taking events goes on. With
//!   PostgreSQL 15.18, 2 cores and 128 MB of shared buffers, `stats` took 0.2 ms without such events, 0.4 s
//!   with 200 000 events handled under the snapshot, 0.7 to 1 s with 600 000, and 0.8 to 2.5 s with
//!   1 200 000; listing 100 waiting events took 0.1 to 0.7 s, and listing dead letters stayed below 0.1 ms.
//!   The log line `dead rows slow the inbox` names the session (`backend_xmin` in `pg_stat_activity`), the
//!   slot or the prepared transaction, or says that autovacuum is too slow.
//! - **Bodies are stored** until their row is deleted. A body has 256 KiB at most.
//! - The connections belong to the tokio runtime that called `connect`. When it shuts down, operations fail.
//!
//! # PostgreSQL behind a pooler
//!
//! A `postgres://` URL may lead to PgBouncer in session or transaction mode. `connect` detects a pooler, as
//! in [`roomz_sql`](roomz_sql#postgresql-behind-a-pooler), and the inbox then sends its statements as text,
//! as the claims do. Bodies and error texts are bound as parameters, so that they are not in the statements
//! that the server and sqlx log.
//!
//! **In transaction mode, your own queries need `.persistent(false)`**, for example `sqlx::query("INSERT
//! …").persistent(false)`. Otherwise sqlx gives each prepared statement a name. The name stays in a session
//! of the server, and the next client of that session fails with `prepared statement "sqlx_s_1" already
//! exists`.
//!
//! # Existing pools
//!
//! `connect` also accepts a `sqlx::PgPool` or a `sqlx::SqlitePool` of your application ([`Database`]).
//! Statements then go as text, because the pool could lead to a pooler. A `PgPool` needs at least two
//! connections more than the concurrency. A `SqlitePool` needs the journal mode `WAL` and `synchronous =
//! FULL`; give it one connection, because several do not get the write lock in order. The inbox sets the
//! commit hook of a connection that a handler gets, and leaves it there: it permits every commit while no
//! handler has the connection.
//!
//! # Metrics
//!
//! With the feature `metrics`, through the [`metrics`](https://docs.rs/metrics) facade. All names start with
//! `roomz_inbox_`. The gauges are updated every 10 s by each worker, and have the same values in all of them.
//! While a count fails, its gauges are `NaN`, for which no comparison is true: alert on
//! `database_errors_total{operation="stats"}`, too.
//! Install the recorder before you connect: then every counter exists with 0 from the start, and `increase()`
//! of Prometheus counts the first event.
//!
//! | name | kind | labels | meaning |
//! |---|---|---|---|
//! | `events` | gauge | `state`: `waiting`, `running`, `dead` | events that are not done: alert on `dead` |
//! | `oldest_seconds` | gauge | | age of the oldest event that waits or runs: alert on it to notice that no worker runs |
//! | `attempts_total` | counter | `outcome`: `done`, `failed`, `dead`, `lost`, `unrecorded`, `shut_down` | ended attempts |
//! | `done_seconds` | histogram | | time from the arrival of an event until it is done |
//! | `full_total` | counter | | events that were rejected because too many are open, or wait for the database |
//! | `database_errors_total` | counter | `operation`: `enqueue`, `count`, `take`, `renew`, `complete`, `confirm`, `fail`, `give_back`, `stats`, `purge` | failed operations |
//!
//! `count`: the open events could not be counted, so the inbox accepts more than its maximum. `confirm`:
//! SQLite could not sync the commit of a handler.
//!
//! `lost`: the lease ended and another worker took the event. A commit whose reply was lost is looked up and
//! counts as `done`. `unrecorded`: the database failed until the lease ended. Another attempt follows, unless
//! the outcome was stored without a reply.
//!
//! # Log
//!
//! Through `tracing`, with the target `roomz_inbox`. No line has a body. The text of an error is bounded to
//! 1 000 characters, and control characters in it are escaped.
//!
//! | message | level | fields |
//! |---|---|---|
//! | `event done` | INFO | `namespace`, `event_id`, `age` |
//! | `attempt failed` | WARN | `namespace`, `event_id`, `attempt`, `retry_after`, `error` |
//! | `attempt ended without a result` | WARN | `namespace`, `event_id`, `outcome`: `lost`, `unrecorded`, `shut_down` |
//! | `dead letter` | ERROR | `namespace`, `event_id`, `attempt`, `error`, `hint` |
//! | `inbox full` | ERROR | `open`, `hint`; at most once per second |
//! | `unreadable row` | ERROR | `error` with namespace and id, `hint` |
//! | `dead rows slow the inbox` | WARN | `count`, `held_by`, `hint`; at most once per minute ([why](#limits)) |
//! | `inbox database failed` | WARN | `operation`, `error`, `hint` |
//!
//! # Tracing
//!
//! The endpoint stores the header `traceparent` of the delivery's request ([W3C Trace
//! Context](https://www.w3.org/TR/trace-context/)), and [`Job::traceparent`] returns it in each attempt: a
//! handler makes it the parent of its span. The example [`opentelemetry`][opentelemetry] does this.
//!
//! - **ROOMZ is not known to send this header.** It comes from your proxy, or from your own tracing
//!   middleware. To have the span of that middleware as the parent, let it write its context into the header
//!   of the request, outside the webhook layer.
//! - A header that is repeated or is not in the form of version 00 is dropped, and the event accepted.
//! - `tracestate` and baggage are not stored. Neither does [`Inbox::enqueue`] store anything, which has no
//!   request, and a duplicate does not replace what is stored.
//! - The header is not signed. Do not use it to decide anything.
//!
//! [opentelemetry]: https://github.com/roomz-webhook/roomz-webhook/tree/main/examples/opentelemetry
//!
//! # Tables
//!
//! The inbox is the table `roomz_inbox`, one row for each event. `connect` creates it with the tables of
//! [`roomz_sql`], or checks that it exists, with [`with_migrations(false)`](InboxBuilder::with_migrations).
//! The table belongs to this crate: read it with [`Inbox::list`], [`Inbox::get`] and [`Inbox::stats`].
//!
//! # Features and versions
//!
//! | feature | |
//! |---|---|
//! | `postgres` (on) | PostgreSQL |
//! | `sqlite` (on) | SQLite, compiled in: needs a C compiler |
//! | `tls` (off) | encrypted connections to PostgreSQL, with rustls and Mozilla's certificates |
//! | `metrics` (off) | [metrics](#metrics) |
//! | `testing` (off) | `Job::for_test`, for unit tests of handlers |
//!
//! Tested with PostgreSQL 15, PgBouncer 1.18 and the bundled SQLite 3.51. `connect` rejects PostgreSQL older
//! than 13 and, in an existing pool, SQLite older than 3.42.
//!
//! sqlx 0.9 is part of the public API. A new minor version of sqlx is a breaking change of this crate. Depend
//! on sqlx 0.9 yourself to write queries. The version of roomz-sql must be that of this crate; Cargo selects
//! it.
//!
//! Needs Rust 1.94, because sqlx 0.9 does. The
//! [design](https://github.com/roomz-webhook/roomz-webhook/blob/main/crates/roomz-inbox/DESIGN.md) explains
//! why the queue is not an existing one.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("roomz-inbox needs the feature `postgres` or the feature `sqlite`");

mod admission;
mod endpoint;
mod entry;
mod error;
mod error_text;
mod events;
mod inbox;
mod job;
mod queue;
mod telemetry;
mod worker;

pub use self::admission::Enqueued;
pub use self::endpoint::Endpoint;
pub use self::entry::{InboxEntry, InboxState, InboxStats};
pub use self::error::{BoxError, InboxError, InboxErrorKind};
pub use self::inbox::{Inbox, InboxBuilder};
pub use self::job::Job;
pub use self::worker::{Worker, WorkerBuilder};
#[cfg(feature = "postgres")]
pub use roomz_sql::postgres_options;
#[cfg(feature = "sqlite")]
pub use roomz_sql::sqlite_options;
pub use roomz_sql::{ConnectError, ConnectErrorKind, Database};
pub use roomz_webhook::{Event, EventData, EventId, PresenceStatus, WorkspaceId, WorkspacePresenceChanged};

/// Compiles the example in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
