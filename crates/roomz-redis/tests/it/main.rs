//! Claims in real Redis servers.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers")]

mod connect;
mod contract;
mod faults;
mod tls;
mod topology;
