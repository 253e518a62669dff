//! The inbox next to a bare insert: events per second, latency, and the time from the 202 until the event is
//! done.
//!
//! `cargo run --release -p roomz-benches --bin inbox-rates`. Needs `postgres`. Takes about four minutes.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

mod admission;
mod bare;
mod done;
mod load;

use roomz_tests::Server;

#[tokio::main]
async fn main() {
    let done = done::Times::record();
    let directory = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}/inbox.db", directory.path().display());
    run("SQLite", &sqlite, &done).await;
    if let Some(server) = Server::postgres_or_skip(&[]) {
        run("PostgreSQL", &server.postgres_url(), &done).await;
    }
}

async fn run(name: &str, url: &str, done: &done::Times) {
    let peak = admission::compare(name, url).await;
    done::measure(name, url, peak, done).await;
}
