//! The server's CPU time per new event, with the layer and with handlers that verify and deduplicate by hand:
//! with this project's functions and moka, and without anything of this project.
//!
//! `cargo run --release -p roomz-benches --bin server-cpu`. Needs Linux, `taskset` and two cores: one for the
//! server, one for the sender.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use roomz_axum::WebhookEvent;
use roomz_benches::{
    Deliveries, Goal, handle_by_hand, handle_without_kit, is_new, median, print_goal, request_bytes, secret,
};
use roomz_protocol::{EventId, Secrets};
use roomz_webhook::WebhookLayer;
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, CompactStore, Fingerprint, IdempotencyStore, MokaStore, Owner,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

const ROUNDS: usize = 16;
const REQUESTS: usize = 32_000;
const CONNECTIONS: usize = 16;
const FULL: u32 = 100_000;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    pin(&thread_path(), "1");
    let mut deliveries = Deliveries::new();
    for full in [false, true] {
        let servers = [
            Server::start(move || by_hand(full, EvictionPolicy::tiny_lfu())),
            Server::start(move || by_hand(full, EvictionPolicy::lru())),
            Server::start(move || without_kit(full)),
            Server::start(move || layer(MokaStore::builder().with_capacity(capacity(full)).build(), full)),
            Server::start(move || layer(CompactStore::builder().with_capacity(capacity(full)).build(), full)),
        ];
        let mut times = [const { Vec::new() }; 5];
        for round in 0..ROUNDS {
            for (server, times) in servers.iter().zip(&mut times) {
                let requests: Vec<_> =
                    (0..REQUESTS).map(|_| request_bytes(deliveries.next_event())).collect();
                let before = server.cpu_nanos();
                runtime.block_on(send(server.address, requests));
                let nanos = (server.cpu_nanos() - before) as f64 / REQUESTS as f64;
                // The first round fills caches and allocators.
                if round > 0 {
                    times.push(nanos);
                }
            }
        }
        let state = if full { "full" } else { "growing" };
        let [by_hand, by_hand_lru, without_kit, moka, compact] = times;
        let baselines =
            [("by hand", &by_hand), ("by hand, LRU", &by_hand_lru), ("without this project", &without_kit)];
        for (store, before, times) in [("MokaStore", 1.19, &moka), ("CompactStore", 1.05, &compact)] {
            let name = format!("server CPU per new event ÷ by hand with moka, {state}: {store}");
            print_goal(&name, before, ratio(times, &by_hand), Goal::AtMost(1.05));
            println!("  {:.2} µs", median(&mut times.clone()) / 1e3);
            for (name, baseline) in baselines {
                let baseline_micros = median(&mut baseline.clone()) / 1e3;
                println!("  {:.2} × {name} ({baseline_micros:.2} µs)", ratio(times, baseline));
            }
        }
    }
}

/// The parts of a round run right after each other, so their ratio varies less than the times.
fn ratio(times: &[f64], baseline: &[f64]) -> f64 {
    median(&mut times.iter().zip(baseline).map(|(time, baseline)| time / baseline).collect::<Vec<_>>())
}

fn capacity(full: bool) -> u64 {
    if full { FULL.into() } else { 1_000_000 }
}

/// The handler verifies and parses with this project's functions, and deduplicates with moka.
fn by_hand(full: bool, eviction_policy: EvictionPolicy) -> Router {
    let (secrets, cache) = (Secrets::from(secret()), cache(full, eviction_policy));
    handler(move |headers, body| handle_by_hand(headers, body, &secrets, |id| is_new(&cache, id)))
}

/// The same without anything of this project.
fn without_kit(full: bool) -> Router {
    let cache = cache(full, EvictionPolicy::tiny_lfu());
    handler(move |headers, body| handle_without_kit(headers, body, &cache))
}

fn cache(full: bool, eviction_policy: EvictionPolicy) -> Cache<EventId, ()> {
    let cache = Cache::builder().max_capacity(capacity(full)).eviction_policy(eviction_policy).build();
    if full {
        for number in 0..FULL * 2 {
            cache.insert(old_id(number), ());
        }
        cache.run_pending_tasks();
    }
    cache
}

fn handler(handle: impl Fn(&HeaderMap, &[u8]) -> StatusCode + Clone + Send + Sync + 'static) -> Router {
    Router::new().route("/", post(async move |headers: HeaderMap, body: Bytes| handle(&headers, &body)))
}

fn layer(store: impl IdempotencyStore, full: bool) -> Router {
    if full {
        let (owner, week) = (Owner::random(), Duration::from_secs(7 * 24 * 60 * 60));
        let request = ClaimRequest::new(owner, Fingerprint::of(b"{}"), Duration::from_secs(60), week);
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for number in 0..FULL * 2 {
                let key = ClaimKey::new("roomz".into(), old_id(number));
                let _ = store.claim(&key, &request).await.unwrap();
                let _ = store.complete(&key, owner, week).await.unwrap();
            }
        });
    }
    let layer = WebhookLayer::builder(secret()).with_store(store).build().unwrap();
    async fn handle(WebhookEvent(event): WebhookEvent) {
        std::hint::black_box(&event);
    }
    Router::new().route("/", post(handle).layer(layer))
}

/// An id that no delivery has.
fn old_id(number: u32) -> EventId {
    roomz_protocol::Uuid::from_u128(1 << 127 | u128::from(number)).into()
}

struct Server {
    address: SocketAddr,
    /// The directories of the server's threads in `/proc`.
    threads: Vec<String>,
}

impl Server {
    /// Starts a server with the runtime of `#[tokio::main]` on one core: one worker, and the thread that
    /// accepts connections.
    fn start(app: impl FnOnce() -> Router + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // The worker inherits the core.
            pin(&thread_path(), "0");
            let app = app();
            let (thread_sender, threads) = mpsc::channel();
            let report = thread_sender.clone();
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .on_thread_start(move || drop(report.send(thread_path())))
                .build()
                .unwrap();
            thread_sender.send(thread_path()).unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                sender.send(Self { address, threads: threads.iter().take(2).collect() }).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        receiver.recv().unwrap()
    }

    fn cpu_nanos(&self) -> u64 {
        let nanos = |thread: &String| {
            let statistics = std::fs::read_to_string(format!("{thread}/schedstat")).unwrap();
            statistics.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        self.threads.iter().map(nanos).sum()
    }
}

fn thread_path() -> String {
    format!("/proc/{}", std::fs::read_link("/proc/thread-self").unwrap().display())
}

fn pin(thread: &str, core: &str) {
    let (_, id) = thread.rsplit_once('/').unwrap();
    let status = Command::new("taskset").args(["-cp", core, id]).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "taskset failed");
}

/// Sends the requests over several connections, one at a time on each.
async fn send(address: SocketAddr, requests: Vec<Vec<u8>>) {
    let parts = requests.chunks(REQUESTS / CONNECTIONS);
    let connections = parts.map(async |requests| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0; 1_024];
        for request in requests {
            stream.write_all(request).await.unwrap();
            let mut length = 0;
            while !buffer[..length].ends_with(b"\r\n\r\n") {
                let read = stream.read(&mut buffer[length..]).await.unwrap();
                assert!(read > 0, "the server closed the connection");
                length += read;
            }
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..length]));
        }
    });
    futures_util::future::join_all(connections).await;
}
