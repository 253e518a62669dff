//! The contract of the layer: its checks, its claims, and the attacks that it must withstand.
//!
//! `tests/README.md` at the workspace root lists which test covers which promise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod checks;
mod claims;
mod evicting_store;
mod flawed_store;
mod memory_contract;
mod memory_stores;
mod metrics;
mod nested_layers;
mod properties;
mod readiness;
mod settings;
mod sockets;
mod support;
mod tenants;
mod threats;
