//! The inbox on real databases.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic in its helpers"
)]

mod attempts;
mod commit;
mod connect;
mod dead_letters;
mod dead_rows;
mod endpoint;
mod faults;
mod inbox;
mod lease;
mod metrics;
mod outcomes;
mod pool;
mod pooler;
mod shutdown;
mod stale;
mod support;
mod together;
mod trace_context;
