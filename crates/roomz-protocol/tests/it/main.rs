//! Events, secrets, signatures and their errors.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic in its helpers")]

mod errors;
mod events;
mod json;
mod latest;
mod secrets;
mod signatures;
