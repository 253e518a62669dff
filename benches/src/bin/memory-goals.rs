//! The goals of the stores in memory: memory per id, throughput on two cores, cost of a claim, and cost with
//! many ids.
//!
//! `cargo run --release -p roomz-benches --bin memory-goals`, or with a name of `memory`, `throughput`,
//! `cost`, `capacity`. Needs Linux and 3 GB of memory.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_benches::{App, Deliveries, Goal, median, print_goal, with_store};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, CompactStore, Fingerprint, IdempotencyStore, MokaStore, Owner,
};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const ROUNDS: u64 = 9;
const SMALL: u64 = 1_000;
const MILLION: u64 = 1_000_000;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let rows = std::env::args().nth(1);
    let is_chosen = |name| rows.as_deref().is_none_or(|row| row == name);
    if is_chosen("memory") {
        // Each store has its own process, because a process reuses freed memory.
        for row in ["memory-moka", "memory-compact"] {
            let program = std::env::current_exe().unwrap();
            assert!(std::process::Command::new(program).arg(row).status().unwrap().success());
        }
    }
    match rows.as_deref() {
        Some("memory-moka") => memory(&runtime, "MokaStore", moka, 340.0),
        Some("memory-compact") => memory(&runtime, "CompactStore", compact, 100.0),
        _ => (),
    }
    if is_chosen("throughput") {
        throughput("MokaStore", moka);
        throughput("CompactStore", compact);
    }
    if is_chosen("cost") {
        cost(&runtime);
    }
    if is_chosen("capacity") {
        capacity(&runtime, "MokaStore", moka);
        capacity(&runtime, "CompactStore", compact);
    }
}

/// A store with this capacity.
type Store = Arc<dyn IdempotencyStore>;

fn moka(capacity: u64) -> Store {
    Arc::new(MokaStore::builder().with_capacity(capacity).build())
}

fn compact(capacity: u64) -> Store {
    Arc::new(CompactStore::builder().with_capacity(capacity).build())
}

/// Claims and completes events with these ids.
async fn pairs(store: &dyn IdempotencyStore, ids: std::ops::Range<u128>) {
    let namespace: Arc<str> = "bench".into();
    let fingerprint = Fingerprint::of(b"body");
    for id in ids {
        // Spread over all bits, as random ids are.
        let id = id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let key = ClaimKey::new(Arc::clone(&namespace), roomz_protocol::Uuid::from_u128(id).into());
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
fn memory(runtime: &Runtime, name: &str, new: fn(u64) -> Store, goal: f64) {
    let ids = MILLION as f64;
    runtime.block_on(pairs(&*new(SMALL), 0..1_000));
    let before = resident_bytes();
    let store = new(MILLION);
    let empty = resident_bytes() - before;
    runtime.block_on(pairs(&*store, 0..u128::from(MILLION)));
    let full = (resident_bytes() - before) / ids;
    print_goal(&format!("{name}: bytes per id, 1 000 000 ids"), 86.0, full, Goal::AtMost(goal));
    runtime.block_on(pairs(&*store, u128::from(MILLION)..u128::from(MILLION) * 3));
    let overfilled = (resident_bytes() - before) / ids;
    println!("  empty store {:.1} MB; after 3 000 000 ids {overfilled:.0} bytes", empty / 1e6);
}

/// Claims and completions per second of 8 tasks on two workers, divided by those of one task.
///
/// Two cores that share nothing do not always reach 2: the last line shows the same with a store for each
/// task.
fn throughput(name: &str, new: fn(u64) -> Store) {
    const PAIRS: u128 = 400_000;
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let per_second = |tasks: u128, is_shared: bool| {
        let store = new(MILLION);
        let start = Instant::now();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..tasks)
                .map(|task| {
                    let store = if is_shared { Arc::clone(&store) } else { new(MILLION) };
                    let ids = PAIRS / tasks * task..PAIRS / tasks * (task + 1);
                    tokio::spawn(async move { pairs(&*store, ids).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        PAIRS as f64 / start.elapsed().as_secs_f64()
    };
    let (mut one, mut shared, mut separate) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = per_second(1, true);
        shared.push(per_second(8, true) / alone);
        separate.push(per_second(8, false) / alone);
        one.push(alone);
    }
    let name = format!("{name}: throughput of 8 tasks ÷ 1 task");
    print_goal(&name, 1.72, median(&mut shared), Goal::AtLeast(1.5));
    println!("  with a store for each task {:.2}; 1 task {:.0}/s", median(&mut separate), median(&mut one));
}

/// A claim and its completion in each store, in turns.
fn cost(runtime: &Runtime) {
    let mut next_pair = 1_u128 << 64;
    let mut time = |store: &Store, count: u64| {
        let start = Instant::now();
        runtime.block_on(pairs(&**store, next_pair..next_pair + u128::from(count)));
        next_pair += u128::from(count);
        start.elapsed().as_secs_f64() / count as f64
    };
    let (mut growing, mut full) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..3 {
        let stores = [moka(MILLION), compact(MILLION)];
        for round in 0..20 {
            for index in [0, 1] {
                let times = if round < 10 { &mut growing[index] } else { &mut full[index] };
                times.push(time(&stores[index], MILLION / 10));
            }
        }
    }
    for (name, times) in [("growing to 1 000 000 ids", growing), ("full", full)] {
        let [moka, compact] = times.map(|mut times| median(&mut times));
        let name = format!("CompactStore ÷ MokaStore: claim and completion, {name}");
        print_goal(&name, 1.0, compact / moka, Goal::AtMost(1.0));
        println!("  MokaStore {:.2} µs, CompactStore {:.2} µs", moka * 1e6, compact * 1e6);
    }
}

/// The cost of a new event in a store that is full with many ids, divided by that with 1 000 ids.
fn capacity(runtime: &Runtime, name: &str, new: fn(u64) -> Store) {
    let filled = |capacity: u64| {
        let store = new(capacity);
        runtime.block_on(pairs(&*store, 0..u128::from(capacity) * 6 / 5));
        store
    };
    let mut deliveries = Deliveries::new();
    for capacity in [MILLION, MILLION * 5] {
        let apps = [filled(SMALL), filled(capacity)].map(with_store);
        let mut times = [vec![], vec![]];
        for _ in 0..ROUNDS {
            for (app, times) in apps.iter().zip(&mut times) {
                let requests = (0..20_000).map(|_| deliveries.next_event()).collect();
                times.push(runtime.block_on(runtime.spawn(new_events(app.clone(), requests))).unwrap());
            }
        }
        let [small, large] = times.map(|mut times| median(&mut times));
        let name = format!("{name}: new event past {capacity} ids ÷ past {SMALL} ids");
        print_goal(&name, 1.14, large / small, Goal::AtMost(1.3));
        println!("  {:.2} and {:.2} µs", large * 1e6, small * 1e6);
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
