//! The goals of the memory store: memory per id, cost with many ids, and throughput on two cores.
//!
//! `cargo run --release -p roomz-benches --bin memory-goals`, or with a name of `memory`, `throughput`, `cost`. Needs Linux and 1.5 GB of memory.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::time::{Duration, Instant};

use roomz_benches::{App, Deliveries, Goal, median, print_goal, with_store};
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore, MemoryStore, Owner};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const ROUNDS: u64 = 9;
const SMALL: u64 = 1_000;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let rows = std::env::args().nth(1);
    let is_chosen = |name| rows.as_deref().is_none_or(|row| row == name);
    if is_chosen("memory") {
        memory(&runtime);
    }
    if is_chosen("throughput") {
        throughput();
    }
    if is_chosen("cost") {
        cost(&runtime);
    }
}

/// Claims and completes events with these ids.
async fn pairs(store: &dyn IdempotencyStore, ids: std::ops::Range<u128>) {
    let namespace: std::sync::Arc<str> = "bench".into();
    let fingerprint = Fingerprint::of(b"body");
    for id in ids {
        // Spread over all bits, as random ids are.
        let id = id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let key =
            ClaimKey::new(std::sync::Arc::clone(&namespace), roomz_protocol::Uuid::from_u128(id).into());
        let owner = Owner::random();
        let request = ClaimRequest::new(owner, fingerprint, Duration::from_secs(60), WEEK);
        let _ = store.claim(&key, &request).await.unwrap();
        let _ = store.complete(&key, owner, WEEK).await.unwrap();
    }
}

fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
}

/// Resident memory per id, including the hash tables and the allocator.
fn memory(runtime: &Runtime) {
    let ids = 1_000_000_u32;
    runtime.block_on(pairs(&MemoryStore::new(), 0..1_000));
    let before = resident_bytes();
    let store = MemoryStore::new();
    runtime.block_on(pairs(&store, 0..u128::from(ids)));
    let full = (resident_bytes() - before) / f64::from(ids);
    print_goal("memory per id, 1 000 000 ids, bytes", 431.0, full, Goal::AtMost(100.0));
    runtime.block_on(pairs(&store, u128::from(ids)..u128::from(ids) * 3));
    let overfilled = (resident_bytes() - before) / f64::from(ids);
    print_goal("memory per id, after 3 000 000 ids, bytes", 431.0, overfilled, Goal::AtMost(100.0));
}

/// Claims and completions per second of 8 tasks on two workers, divided by those of one task.
///
/// Two cores that share nothing do not always reach 2: the last line shows the same with a store for each task.
fn throughput() {
    const PAIRS: u128 = 400_000;
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let per_second = |tasks: u128, is_shared: bool| {
        let store = MemoryStore::new();
        let start = Instant::now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..tasks)
                .map(|task| {
                    let store = if is_shared { store.clone() } else { MemoryStore::new() };
                    let ids = PAIRS / tasks * task..PAIRS / tasks * (task + 1);
                    tokio::spawn(async move { pairs(&store, ids).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        PAIRS as f64 / start.elapsed().as_secs_f64()
    };
    let (mut shared, mut separate) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let one = per_second(1, true);
        shared.push(per_second(8, true) / one);
        separate.push(per_second(8, false) / one);
    }
    print_goal("throughput of 8 tasks ÷ 1 task", 0.55, median(&mut shared), Goal::AtLeast(1.5));
    println!("  with a store for each task: {:.2}", median(&mut separate));
}

/// The cost of a new event in a store that is full with many ids, divided by that with 1 000 ids.
fn cost(runtime: &Runtime) {
    let filled = |capacity: u64| {
        let store = MemoryStore::builder().with_capacity(capacity).build();
        runtime.block_on(pairs(&store, 0..u128::from(capacity) * 6 / 5));
        store
    };
    let mut deliveries = Deliveries::new();
    let mut next_pair = 1_u128 << 64;
    for capacity in [1_000_000, 10_000_000] {
        let stores = [filled(SMALL), filled(capacity)];
        let apps = stores.clone().map(with_store);
        let (mut layer, mut store_only) = ([vec![], vec![]], [vec![], vec![]]);
        for _ in 0..ROUNDS {
            for index in [0, 1] {
                layer[index].push(
                    runtime
                        .block_on(runtime.spawn(new_events(
                            apps[index].clone(),
                            (0..20_000).map(|_| deliveries.next_event()).collect(),
                        )))
                        .unwrap(),
                );
                let start = Instant::now();
                runtime.block_on(pairs(&stores[index], next_pair..next_pair + 100_000));
                next_pair += 100_000;
                store_only[index].push(start.elapsed().as_secs_f64() / 100_000.0);
            }
        }
        let [small, large] = layer.map(|mut times| median(&mut times));
        let [small_store, large_store] = store_only.map(|mut times| median(&mut times));
        let name = format!("new event past {capacity} ids ÷ past {SMALL} ids");
        print_goal(&name, 2.0, large / small, Goal::AtMost(1.3));
        println!(
            "  layer {:.2} and {:.2} µs; claim and completion alone {:.2} and {:.2} µs",
            large * 1e6,
            small * 1e6,
            large_store * 1e6,
            small_store * 1e6
        );
    }
}

/// Returns the seconds per event.
async fn new_events(app: App, requests: Vec<http::Request<axum::body::Body>>) -> f64 {
    let count = requests.len() as f64;
    let start = Instant::now();
    for request in requests {
        app.clone().oneshot(request).await.unwrap();
    }
    start.elapsed().as_secs_f64() / count
}
