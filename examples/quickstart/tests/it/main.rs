//! The handler and the program.

mod app;
mod delivery;
mod handler;
