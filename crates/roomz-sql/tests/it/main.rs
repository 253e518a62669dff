//! Claims and presence in real databases.

mod batches;
mod bounds;
mod connect;
mod contract;
mod faults;
mod migrations;
mod presence;
mod purge;
mod support;
mod tls;
mod transaction;
