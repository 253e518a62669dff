//! A receiver that runs for long: its memory, file descriptors and tasks do not grow, no event is lost, and
//! none is handled twice by the living process.
//!
//! All the time secrets are replaced, and one in ten clients disconnects before it reads the response. With
//! `ROOMZ_TESTS=long` each test takes an hour at half of the highest rate; `ROOMZ_SOAK_SECONDS` sets another
//! time.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use roomz_tests::counting::{Connection, CountingReceiver, Usage, delivery, secret_of_rotation};
use roomz_tests::{Server, rounds};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

const CONNECTIONS: usize = 16;
/// One in this many clients disconnects before it reads the response, and sends the event again.
const DISCONNECT_ONE_IN: u32 = 10;
/// One in this many events is sent again after it was accepted.
const DUPLICATE_ONE_IN: u32 = 5;
/// How long the store is down each time.
const OUTAGE: Duration = Duration::from_millis(500);
/// The maximum time of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum time until an event is accepted, and until the receiver has closed its connections.
const GIVE_UP: Duration = Duration::from_secs(150);

/// What the connections of the sender share.
struct Sender {
    address: SocketAddr,
    rotation: AtomicU64,
    next: AtomicUsize,
    retried: AtomicUsize,
    stopped: AtomicBool,
}

impl Sender {
    /// Delivers events until all connections are stopped: one per `pause`, or without pause.
    async fn deliver(self: Arc<Self>, pause: Duration) {
        let (mut turns, mut connection) = (interval(pause.max(Duration::from_micros(1))), None);
        while !self.stopped.load(SeqCst) {
            if !pause.is_zero() {
                turns.tick().await;
            }
            let number = self.next.fetch_add(1, SeqCst);
            if rand::random_ratio(1, DISCONNECT_ONE_IN) {
                let disconnected = Connection::open(self.address).await;
                let _ = disconnected.unwrap().send(&self.sign(number)).await;
            }
            self.deliver_until_accepted(number, &mut connection).await;
            if rand::random_ratio(1, DUPLICATE_ONE_IN) {
                self.deliver_until_accepted(number, &mut connection).await;
            }
        }
    }

    fn sign(&self, number: usize) -> Vec<u8> {
        delivery(number, &secret_of_rotation(self.rotation.load(SeqCst)))
    }

    async fn deliver_until_accepted(&self, number: usize, open: &mut Option<Connection>) {
        let start = Instant::now();
        loop {
            let attempt = async {
                let connection = match open.take() {
                    Some(connection) => open.insert(connection),
                    None => open.insert(Connection::open(self.address).await?),
                };
                connection.exchange(&self.sign(number)).await
            };
            match timeout(REQUEST_TIMEOUT, attempt).await {
                Ok(Ok(200)) => return,
                Ok(Ok(status)) => assert_eq!(status, 503, "only the store fails"),
                _ => *open = None,
            }
            assert!(start.elapsed() < GIVE_UP, "event {number} was not accepted in {GIVE_UP:?}");
            self.retried.fetch_add(1, SeqCst);
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn start(self: &Arc<Self>, pause: Duration) -> JoinSet<()> {
        self.stopped.store(false, SeqCst);
        (0..CONNECTIONS).map(|_| Arc::clone(self).deliver(pause)).collect()
    }

    async fn stop(&self, mut connections: JoinSet<()>) {
        self.stopped.store(true, SeqCst);
        while let Some(ended) = connections.join_next().await {
            ended.unwrap();
        }
    }
}

/// Waits until the receiver has as many descriptors and tasks as at the start.
async fn usage_at_rest(receiver: &CountingReceiver, start: Usage) -> Usage {
    let begin = Instant::now();
    loop {
        let usage = receiver.usage().await;
        if usage.descriptors <= start.descriptors && usage.tasks <= start.tasks {
            return usage;
        }
        assert!(begin.elapsed() < GIVE_UP, "not released: {usage:?}, and at the start {start:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a receiver with these arguments. Its store is killed and restarted if there is one.
async fn soak(name: &str, arguments: &[&str], fill: usize, mut store: Option<Server>) {
    let seconds = std::env::var("ROOMZ_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(rounds(6, 3_600) as u64);
    let receiver = CountingReceiver::start(env!("CARGO_BIN_EXE_counting-receiver"), arguments);
    let sender = Arc::new(Sender {
        address: receiver.address,
        rotation: AtomicU64::new(0),
        next: AtomicUsize::new(0),
        retried: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
    });
    // The first request opens the connections that stay.
    let start = receiver.usage().await;

    // The highest rate, until the store is full.
    let (begin, connections) = (Instant::now(), sender.start(Duration::ZERO));
    while sender.next.load(SeqCst) < fill {
        sleep(Duration::from_millis(10)).await;
    }
    sender.stop(connections).await;
    let peak_rate = sender.next.load(SeqCst) as f64 / begin.elapsed().as_secs_f64();
    usage_at_rest(&receiver, start).await;

    let pause = Duration::from_secs_f64(2.0 * CONNECTIONS as f64 / peak_rate);
    let (begin, connections) = (Instant::now(), sender.start(pause));
    // In KiB, after a sixth of the time: by then a full store has replaced its ids once.
    let mut samples = Vec::new();
    while begin.elapsed().as_secs() < seconds {
        sleep(Duration::from_secs(seconds.div_ceil(60).min(20))).await;
        // The next secret is accepted before anybody signs with it.
        let newest = sender.rotation.load(SeqCst) + 1;
        Connection::get(receiver.address, &format!("/rotate/{newest}")).await;
        sender.rotation.store(newest, SeqCst);
        if let Some(store) = &mut store {
            store.kill();
            sleep(OUTAGE).await;
            store.restart();
        }
        if begin.elapsed().as_secs() >= seconds / 6 {
            samples.push(receiver.usage().await.resident);
        }
    }
    sender.stop(connections).await;
    let end = usage_at_rest(&receiver, start).await;

    let sent = sender.next.load(SeqCst);
    let runs = receiver.runs(sent).await;
    let (first, last) = (*samples.first().unwrap(), *samples.last().unwrap());
    let drift = 100.0 * (last as f64 / first as f64 - 1.0);
    eprintln!(
        "{name}: {sent} events in {seconds} s at half of {peak_rate:.0}/s, {} secrets, {} requests repeated; resident \
         {first} KiB after a sixth of the time, {last} at the end ({drift:+.1} %); start {start:?}, end {end:?}, all {samples:?}",
        sender.rotation.load(SeqCst),
        sender.retried.load(SeqCst),
    );
    let wrong: Vec<_> = (0..sent).filter(|&number| runs.get(number) != Some(&1)).collect();
    assert!(wrong.is_empty(), "lost, or handled twice: {wrong:?}");
    // Two megabytes more for the allocator, because a short run has a small process.
    let allowed = first + first / 50 + 2 * 1024;
    assert!(last <= allowed, "the resident memory grew by {drift:.1} %");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_memory_store_for_long() {
    let capacity = rounds(500, 1_000_000);
    let arguments = ["--capacity", &capacity.to_string()];
    soak("full_memory_store_for_long", &arguments, capacity + capacity / 10, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_redis_for_long() {
    // What the server wrote survives `kill -9`.
    let Some(server) = Server::redis_or_skip(&["--appendonly", "yes"]) else { return };
    let url = format!("redis://{}", server.address());
    soak("restarted_redis_for_long", &["--redis", &url], rounds(500, 20_000), Some(server)).await;
}
