//! Claims in real Redis servers.

mod connect;
mod contract;
mod faults;
mod tls;
mod topology;
