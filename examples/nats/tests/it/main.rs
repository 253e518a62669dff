//! Publishing and consuming with a real NATS server.

mod consume;
mod program;
mod publish;
mod support;
