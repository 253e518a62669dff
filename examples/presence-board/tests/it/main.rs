//! The board: its router, its program, its page and its deployment.

mod app;
mod browser;
mod deploy;
mod documented_receiver;
mod monitoring;
mod operation;
mod page_files;
mod program;
mod readiness;
mod serve;
mod support;
