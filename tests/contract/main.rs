//! The receiver's contract, row by row, and the threats; `tests/README.md` has the table of which test is whose.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in helpers; a test may

mod checks;
mod claims;
mod measures;
mod properties;
mod settings;
mod threats;
mod vectors;
mod wire;
