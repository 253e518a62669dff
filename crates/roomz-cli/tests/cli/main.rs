//! The program itself, against receivers in this process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in helpers; a test may

mod bad_input;
mod help;
mod listen;
mod output;
mod replay;
mod retry;
mod send;
mod sign;
mod support;
mod terminal;
mod tls;
mod verify;
