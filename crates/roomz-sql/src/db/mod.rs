//! The database layer under the claims, the presence and the inbox.
//!
//! [`dialect`] holds what PostgreSQL and SQLite write differently; a [`statement::Statement`] is one text for
//! both, for one or many rows of parameters. `Driver` sends it over a connection of sqlx. [`worker::Workers`]
//! execute the operations that wait in a queue, together where they fit. [`pool::Pool`] has the connections
//! for transactions of handlers.
//!
//! It is public for `roomz-inbox`, whose version is the same, and not part of the API.

#![allow(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    missing_debug_implementations,
    reason = "not part of the API"
)]

pub mod backoff;
pub mod connect;
pub(crate) mod connections;
pub mod dialect;
pub(crate) mod driver;
pub mod error;
pub mod pool;
pub(crate) mod pooled;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub mod purge;
pub mod queue;
pub(crate) mod schema;
pub mod settings;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
pub mod statement;
pub(crate) mod suspects;
pub mod value;
pub mod worker;
