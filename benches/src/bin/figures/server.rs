//! Servers in processes of their own: the CPU time of a new event, and the memory of idle connections.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::services::{Deliveries, bytes, handle_by_hand, handle_without_kit, is_new, secret};
use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use roomz_axum::WebhookEvent;
use roomz_protocol::{EventId, Secrets};
use roomz_webhook::WebhookLayer;
use roomz_webhook::store::{CompactStore, IdempotencyStore, MokaStore};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tracing::subscriber::NoSubscriber;

use crate::report::Goal::{self, AtMost};
use crate::report::Report;
use crate::requests::runtime;
use crate::stores::{FIRST_OLD_ID, filled_bytes, pairs};

const REQUESTS: usize = 32_000;
/// The requests that are sent at once.
const CONCURRENCY: usize = 16;
const FULL: u64 = 100_000;
const CONNECTIONS: usize = 10_000;
const MILLION: u64 = 1_000_000;

/// The CPU time of a new event, on a core of its own.
pub(crate) fn measure_cpu(report: &mut Report) {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        return report.leave_out("server CPU", "the server and the sender need a core each");
    }
    const GOALS: [(&str, [Goal; 2]); 2] =
        [("growing", [AtMost(0.95), AtMost(0.95)]), ("full", [AtMost(0.9), AtMost(0.9)])];
    const APPS: [(&str, &str); 5] = [
        ("axum-moka", "`MokaStore`"),
        ("axum-compact", "`CompactStore`"),
        ("by_hand", "by hand with moka"),
        ("by_hand_lru", "by hand with moka's LRU"),
        ("without_kit", "without this project"),
    ];
    let mut deliveries = Deliveries::new();
    for (state, goals) in GOALS {
        let (capacity, ids) = if state == "full" { (FULL, FULL * 2) } else { (MILLION, 0) };
        let servers = APPS.map(|(app, _)| Server::start(app, capacity, ids));
        // The first round fills caches and allocators.
        for round in 0..=report.rounds {
            let micros = servers.each_ref().map(|server| {
                let requests = (0..REQUESTS).map(|_| bytes(deliveries.next_event())).collect::<Vec<_>>();
                let before = server.cpu_nanos();
                with_sender(async || {
                    let (first, rest) = requests.split_at(CONCURRENCY);
                    Connections::open(server.address, first).await.send(rest).await;
                });
                (server.cpu_nanos() - before) as f64 / 1e3 / REQUESTS as f64
            });
            if round == 0 {
                continue;
            }
            for (store, goal) in goals.into_iter().enumerate() {
                let name =
                    format!("server CPU per new event ÷ by hand with moka, {state}: {}", APPS[store].1);
                report.add_goal(name, goal, micros[store] / micros[2]);
            }
            for (of_app, (_, app)) in micros.iter().zip(APPS) {
                report.add(format!("server CPU per new event, {state}: {app}, µs"), *of_app);
            }
        }
    }
}

/// The memory of a server with idle connections and a million ids.
pub(crate) fn measure_memory(report: &mut Report) {
    let mut deliveries = Deliveries::new();
    let requests = (0..CONNECTIONS).map(|_| bytes(deliveries.next_event())).collect::<Vec<_>>();
    // The resident bytes before and with the connections.
    let resident = |app: &str, ids| {
        let server = Server::start(app, MILLION, ids);
        let before = server.resident_bytes();
        let after = with_sender(async || {
            let _connections = Connections::open(server.address, &requests).await;
            server.resident_bytes()
        });
        [before, after]
    };
    for _ in 0..report.rounds {
        let [empty, bare] = resident("bare", 0);
        report.add("bytes of an idle connection: bare axum server", (bare - empty) / CONNECTIONS as f64);
        for store in ["moka", "compact"] {
            let [_, _, of_ids, _] = filled_bytes(store);
            for server in ["axum", "kit"] {
                let [before, after] = resident(&format!("{server}-{store}"), MILLION - CONNECTIONS as u64);
                let name = if server == "kit" { "`roomz_axum::serve`" } else { "`axum::serve`" };
                let store = if store == "moka" { "`MokaStore`" } else { "`CompactStore`" };
                report.add_goal(
                    format!("memory with 10 000 connections and 1 000 000 ids ÷ bare server and store: {name}, {store}"),
                    AtMost(1.15),
                    after / (bare + of_ids),
                );
                report.add(
                    format!("resident memory with 10 000 connections and 1 000 000 ids: {name}, {store}, MB"),
                    after / 1e6,
                );
                report.add(
                    format!("bytes of an idle connection: {name}, {store}"),
                    (after - before) / CONNECTIONS as f64,
                );
            }
        }
    }
}

/// A server process. It ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts an application whose store has this capacity, and so many old ids.
    pub(crate) fn start(app: &str, capacity: u64, ids: u64) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let _ = command.args(["serve", app, &capacity.to_string(), &ids.to_string()]);
        Self::start_command(command)
    }

    /// Starts a program whose first line ends with its address.
    pub(crate) fn start_command(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let _ = BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit('/').next().unwrap().parse().unwrap();
        Self { process, address }
    }

    /// The CPU time of its threads so far.
    pub(crate) fn cpu_nanos(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let nanos = |thread: std::io::Result<std::fs::DirEntry>| {
            let statistics = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            statistics.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        threads.map(nanos).sum()
    }

    fn resident_bytes(&self) -> f64 {
        resident_bytes(&self.process.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The resident memory of a process.
pub(crate) fn resident_bytes(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).unwrap();
}

/// Runs the sender on another core than the servers.
pub(crate) fn with_sender<T: Send>(send: impl AsyncFnOnce() -> T + Send) -> T {
    let run = || {
        pin(1);
        runtime().block_on(send())
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Open connections of a sender.
pub(crate) struct Connections(Vec<TcpStream>);

impl Connections {
    /// Opens a connection for each of these requests, and sends it: some servers close one without a request.
    pub(crate) async fn open(address: SocketAddr, requests: &[Vec<u8>]) -> Self {
        let mut streams = Vec::new();
        for requests in requests.chunks(100) {
            let opened = requests.iter().map(async |request| {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                exchange(&mut stream, request).await;
                stream
            });
            streams.extend(join_all(opened).await);
        }
        Self(streams)
    }

    /// Sends the requests over the connections in turn, some at once.
    pub(crate) async fn send(&mut self, requests: &[Vec<u8>]) {
        let count = self.0.len();
        let groups = CONCURRENCY.min(count);
        let streams = self.0.chunks_mut(count.div_ceil(groups));
        let parts = streams.zip(requests.chunks(requests.len().div_ceil(groups)));
        join_all(parts.map(async |(streams, requests)| {
            for (index, request) in requests.iter().enumerate() {
                exchange(&mut streams[index % streams.len()], request).await;
            }
        }))
        .await;
    }
}

/// Sends a request, and reads a response without a body.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.unwrap();
    let (mut buffer, mut length) = ([0; 1_024], 0);
    while !buffer[..length].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer[length..]).await.unwrap();
        assert!(read > 0, "the server closed the connection");
        length += read;
    }
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..length]));
}

/// Runs an application with the runtime of `#[tokio::main]` on one core. Prints its address.
pub(crate) fn serve(app: &str, capacity: u64, ids: u64) {
    tracing::subscriber::set_global_default(NoSubscriber::new()).unwrap();
    // The worker inherits the core.
    pin(0);
    let (server, store) = app.split_once('-').unwrap_or((app, ""));
    let (router, webhook) = match store {
        "moka" => layer(MokaStore::builder().with_capacity(capacity).build(), ids),
        "compact" => layer(CompactStore::builder().with_capacity(capacity).build(), ids),
        _ => (by_hand(app, capacity, ids), WebhookLayer::new(secret())),
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        if server == "kit" {
            roomz_axum::serve(listener, router, webhook).await.unwrap();
        } else {
            axum::serve(listener, router).await.unwrap();
        }
    });
}

/// A handler without the layer.
fn by_hand(app: &str, capacity: u64, ids: u64) -> Router {
    let policy = if app == "by_hand_lru" { EvictionPolicy::lru() } else { EvictionPolicy::tiny_lfu() };
    let cache: Cache<EventId, ()> = Cache::builder().max_capacity(capacity).eviction_policy(policy).build();
    for number in 0..u128::from(ids) {
        cache.insert(roomz_protocol::Uuid::from_u128(FIRST_OLD_ID + number).into(), ());
    }
    cache.run_pending_tasks();
    let secrets = Secrets::from(secret());
    match app {
        "bare" => handler(|_, _| StatusCode::OK),
        "without_kit" => handler(move |headers, body| handle_without_kit(headers, body, &cache)),
        _ => handler(move |headers, body| handle_by_hand(headers, body, &secrets, |id| is_new(&cache, id))),
    }
}

fn handler(handle: impl Fn(&HeaderMap, &[u8]) -> StatusCode + Clone + Send + Sync + 'static) -> Router {
    Router::new().route("/", post(async move |headers: HeaderMap, body: Bytes| handle(&headers, &body)))
}

fn layer(store: impl IdempotencyStore + Clone, ids: u64) -> (Router, WebhookLayer) {
    runtime().block_on(pairs(&store, FIRST_OLD_ID..FIRST_OLD_ID + u128::from(ids)));
    let layer = WebhookLayer::builder(secret()).with_store(store).build().unwrap();
    async fn handle(WebhookEvent(event): WebhookEvent) {
        std::hint::black_box(&event);
    }
    (Router::new().route("/", post(handle).layer(layer.clone())), layer)
}
