//! The program itself, against receivers in this process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in helpers; a test may

mod sign;
mod support;
mod verify;
