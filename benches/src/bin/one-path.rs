//! Instructions, allocations and allocated bytes per request, counted by valgrind.
//!
//! `cargo run --release -p roomz-benches --bin one-path`. Counts vary by less than a percent, also beside
//! other load.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::process::Command;

use roomz_benches::{App, Deliveries, bare, by_hand, by_hand_moka, layer, with_store, without_kit};
use roomz_webhook::store::CompactStore;
use tower::ServiceExt as _;
use tracing::subscriber::NoSubscriber;

const PATHS: [&str; 8] =
    ["by_hand", "by_hand_moka", "without_kit", "layer", "compact", "duplicate", "forged", "bare"];
const WARM_UP: usize = 500;
const MEASURED: usize = 1_000;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => print_table(),
        [path, count] => send(path, count.parse().unwrap()),
        _ => panic!("usage: one-path [PATH COUNT]"),
    }
}

fn print_table() {
    println!(
        "{:<14} {:>12}  {:>11}  {:>6}  (each with its ratio to by_hand)",
        "path", "instructions", "allocations", "bytes"
    );
    let mut base = None;
    for path in PATHS {
        // The same requests are created in both runs, and more of them are sent in the second one.
        let per_request = |tool: &str, before: &str| {
            let [first, second] =
                [WARM_UP, WARM_UP + MEASURED].map(|count| counted(tool, before, path, count));
            (second - first) / MEASURED as f64
        };
        let row = [
            per_request("callgrind", "Collected : "),
            per_request("dhat", " bytes in "),
            per_request("dhat", "Total:     "),
        ];
        let base = base.get_or_insert(row);
        let [instructions, allocations, bytes] = row;
        println!(
            "{path:<14} {instructions:>7.0} {:.2}  {allocations:>6.1} {:.2}  {bytes:>6.0} {:.2}",
            instructions / base[0],
            allocations / base[1],
            bytes / base[2],
        );
    }
}

/// Returns the number that follows a text in the report of a tool of valgrind.
fn counted(tool: &str, before: &str, path: &str, count: usize) -> f64 {
    let output = Command::new("valgrind")
        .args([&format!("--tool={tool}"), &format!("--{tool}-out-file=/dev/null")])
        .arg(std::env::current_exe().unwrap())
        .args([path, &count.to_string()])
        .output()
        .expect("valgrind must be installed");
    let report = String::from_utf8_lossy(&output.stderr);
    let number = report.split_once(before).unwrap_or_else(|| panic!("{report}")).1;
    let number: String = number.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    number.replace(',', "").parse().unwrap()
}

/// Creates the requests of a whole measurement and sends `count` of them.
fn send(path: &str, count: usize) {
    // The SQL stores turn on the feature `log` of tracing, which costs 1 % of a new event if nobody
    // subscribes. A program without them does not have it.
    tracing::subscriber::set_global_default(NoSubscriber::new()).unwrap();
    let mut deliveries = Deliveries::new();
    let app: App = match path {
        "bare" => bare(),
        "by_hand" => by_hand(),
        "by_hand_moka" => by_hand_moka(),
        "without_kit" => without_kit(),
        "compact" => with_store(CompactStore::new()),
        "layer" | "duplicate" | "forged" => layer(),
        other => panic!("unknown path {other:?}; use one of {PATHS:?}"),
    };
    let mut requests = (0..WARM_UP + MEASURED)
        .map(|_| match path {
            "duplicate" => deliveries.duplicate(),
            "forged" => deliveries.forged(),
            _ => deliveries.next_event(),
        })
        .collect::<Vec<_>>()
        .into_iter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // In a task, as in a server: waking the future of `block_on` costs more than waking a task.
    let sent = async move {
        for request in requests.by_ref().take(count) {
            app.clone().oneshot(request).await.unwrap();
        }
        // To drop the others, and the store with its ids, would count as well.
        std::mem::forget((requests, app));
    };
    runtime.block_on(runtime.spawn(sent)).unwrap();
}
