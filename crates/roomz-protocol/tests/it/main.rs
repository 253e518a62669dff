//! Events, secrets, signatures and their errors.

mod errors;
mod events;
mod json;
mod latest;
mod secrets;
mod signatures;
