//! All goals of the stores, with the values before and now.
//!
//! `cargo run --release -p roomz-benches --bin goals`. Programs that are not installed are skipped. Takes
//! several minutes.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "a program for developers")]

use std::process::Command;

const PROGRAMS: [&str; 4] = ["sql-goals", "redis-topologies", "memory-goals", "server-cpu"];

fn main() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for program in PROGRAMS {
        let arguments = ["run", "--release", "--quiet", "-p", "roomz-benches", "--bin", program];
        let status = Command::new(&cargo).args(arguments).status().unwrap();
        if !status.success() {
            eprintln!("{program} failed: {status}");
        }
    }
}
