//! The inbox on real databases.

mod attempts;
mod connect;
mod dead_letters;
mod endpoint;
mod faults;
mod inbox;
mod lease;
mod metrics;
mod pooler;
mod shutdown;
mod stale;
mod support;
