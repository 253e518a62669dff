//! Runs the program against receivers in this process.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Helpers fail by panicking, like tests.

mod bad_input;
mod byte_order_mark;
mod doctor;
mod forward;
mod headers;
mod help;
mod inbox;
mod inbox_database;
mod listen;
mod new;
mod output;
mod proxy;
mod replay;
mod retry;
mod send;
mod sign;
mod support;
mod terminal;
mod tls;
mod verify;
mod verify_saved;
