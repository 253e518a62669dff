//! The server over TLS.

mod fixture;
mod program;
mod renewal;
mod server;
