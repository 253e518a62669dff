//! Claims and presence in real databases.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic in its helpers")]

mod backup;
mod batches;
mod bounds;
mod connect;
mod contract;
mod faults;
mod migrations;
mod pgpool;
mod pool;
mod presence;
mod presence_history;
mod purge;
mod support;
mod tls;
mod transaction;
