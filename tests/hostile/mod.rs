//! Hostile clients over sockets, beside honest ones: every honest delivery is handled, no forged request
//! reaches the store, and the memory stays bounded.
//!
//! No client waits for a time: the server ends slow connections, and the test ends when it has.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

mod http2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use roomz_protocol::Secret;
use roomz_tests::counting::{
    Connection, CountingReceiver, Usage, delivery, request_head, secret_of_rotation,
};
use roomz_tests::rounds;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The maximum time of an honest delivery.
const DEADLINE: Duration = Duration::from_secs(30);
/// The maximum time for anything else.
const GIVE_UP: Duration = Duration::from_secs(300);
/// The memory for a client that sends a body of 256 KiB.
const STALLED_BODY_KIB: usize = 640;
/// The memory for a client that sends requests and reads no response.
const READER_KIB: usize = 128;
const HONEST_CONNECTIONS: usize = 8;

/// Honest deliveries, until they are asked to stop.
struct Honest {
    sent: AtomicUsize,
    accepted: AtomicUsize,
    stopped: AtomicBool,
}

impl Honest {
    fn start(address: SocketAddr, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let honest = Arc::new(Self {
            sent: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        for _ in 0..HONEST_CONNECTIONS {
            tasks.spawn(Arc::clone(&honest).deliver(address));
        }
        honest
    }

    async fn deliver(self: Arc<Self>, address: SocketAddr) {
        let secret = secret_of_rotation(0);
        let mut connection = Connection::open(address).await.unwrap();
        while !self.stopped.load(SeqCst) {
            let request = delivery(self.sent.fetch_add(1, SeqCst), &secret);
            if let Ok(Ok(200)) = timeout(DEADLINE, connection.exchange(&request)).await {
                self.accepted.fetch_add(1, SeqCst);
            } else {
                connection = Connection::open(address).await.unwrap();
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops, and checks that every delivery was accepted, handled once, and was alone in the store.
    async fn check(&self, mut tasks: JoinSet<()>, receiver: &CountingReceiver) -> Usage {
        self.stopped.store(true, SeqCst);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let (sent, accepted) = (self.sent.load(SeqCst), self.accepted.load(SeqCst));
        assert_eq!(accepted, sent, "each honest delivery is answered 200 within {DEADLINE:?}");
        let usage = receiver.usage().await;
        assert_eq!(usage.store_calls, 2 * sent, "the store is called for a claim and a completion of each");
        let runs = receiver.runs(sent).await;
        assert_eq!((runs.len(), runs.iter().all(|runs| *runs == 1)), (sent, true));
        usage
    }
}

/// Waits until a count is reached. Fails when a client fails.
async fn wait_for(count: &AtomicUsize, target: usize, clients: &mut JoinSet<()>) {
    let start = Instant::now();
    while count.load(SeqCst) < target {
        assert!(start.elapsed() < GIVE_UP, "{} of {target} in {GIVE_UP:?}", count.load(SeqCst));
        if let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the deliveries accepted per second, until there are `count` more.
async fn rate(honest: &Honest, count: usize, tasks: &mut JoinSet<()>) -> f64 {
    let (start, before) = (Instant::now(), honest.accepted.load(SeqCst));
    wait_for(&honest.accepted, before + count, tasks).await;
    f64::from(u32::try_from(count).unwrap()) / start.elapsed().as_secs_f64()
}

/// Raises the limit of open files, also for the receiver. Returns how many slow clients of each kind it
/// allows.
fn slow_clients() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(500) / 4).unwrap_or(usize::MAX).min(rounds(250, 1_000))
}

/// Sends `first`, and then a byte per second or nothing, until the server answers or closes the connection.
async fn is_ended(address: SocketAddr, first: &[u8], drips: bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(first).await;
    let (mut read, mut write) = stream.split();
    let drip = async {
        while drips && write.write_all(b"a").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let mut answer = [0];
    tokio::select! {
        _ = read.read(&mut answer) => {}
        () = drip => {}
    }
}

/// Requests a long response and never reads it, for ever.
async fn never_reads(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let requests = b"GET /page HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(10_000);
    while stream.write_all(&requests).await.is_ok() {}
    std::future::pending::<()>().await;
}

/// Sends these bytes once after the other, each on a connection of its own.
async fn send_each(address: SocketAddr, requests: Arc<Vec<Vec<u8>>>, honest: Arc<Honest>) {
    while !honest.stopped.load(SeqCst) {
        for request in requests.iter() {
            let Ok(mut stream) = TcpStream::connect(address).await else { continue };
            let _ = stream.write_all(request).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

/// Heads that lie about the body, are too long, or belong to another protocol.
fn malformed(signature: &str, body: &str) -> Vec<Vec<u8>> {
    let chunked = "transfer-encoding: chunked";
    let length = format!("content-length: {}", body.len());
    let with_body = |lines: &str| request_head(signature, lines) + body;
    let many_lines = format!("{length}\r\n") + &"x: y\r\n".repeat(10_000) + "x: y";
    let heads = [
        with_body("content-length: 10"),
        with_body(&format!("content-length: {}", body.len() + 1)),
        with_body(&format!("{length}\r\ncontent-length: 10")),
        with_body("content-length: -1"),
        with_body("content-length: 99999999999999999999"),
        with_body(&format!("{length}\r\n{chunked}")),
        with_body("transfer-encoding: chunked, gzip"),
        request_head(signature, chunked) + "ffffffffffffffffff\r\n" + body,
        request_head(signature, chunked) + "-1\r\n" + body,
        request_head(signature, chunked) + &"0".repeat(100_000),
        with_body(&many_lines),
        with_body(&format!("{length}\r\nx: {}", "y".repeat(1_000_000))),
        format!("POST /{} HTTP/1.1\r\n", "y".repeat(1_000_000)),
        "\r\n".repeat(100_000),
    ];
    let other_protocol = http2::flood(http2::Flood::Resets, 1_000);
    heads.into_iter().map(String::into_bytes).chain([other_protocol]).collect()
}

/// Sends a body of 2 GB in one chunk, until the server ends it. Returns how much it sent.
async fn send_2_gb(address: SocketAddr, signature: &str) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = request_head(signature, "transfer-encoding: chunked") + "80000000\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut sent, part) = (0, [b'x'; 64 * 1024]);
    while sent < 0x8000_0000 && stream.write_all(&part).await.is_ok() {
        sent += part.len();
    }
    sent
}

/// Forged requests as fast as the server answers, on one connection.
async fn forge(address: SocketAddr, request: Vec<u8>, honest: Arc<Honest>, forged: Arc<AtomicUsize>) {
    const AT_ONCE: usize = 16;
    let mut connection = Connection::open(address).await.unwrap();
    let requests = request.repeat(AT_ONCE);
    while !honest.stopped.load(SeqCst) {
        connection.send(&requests).await.unwrap();
        for _ in 0..AT_ONCE {
            assert_eq!(connection.response().await.unwrap().0, 401);
        }
        forged.fetch_add(AT_ONCE, SeqCst);
    }
}

/// Starts this number of slow heads, slow bodies, stalled bodies and slow reads. The reads never end.
fn start_slow_clients(address: SocketAddr, count: usize, slow: &mut JoinSet<()>, readers: &mut JoinSet<()>) {
    let signature = secret_of_rotation(0).sign(b"another body").to_base64();
    let head = request_head(&signature, "content-length: 262144");
    let stalled = Arc::new((head.clone() + &"x".repeat(262_000)).into_bytes());
    for _ in 0..count {
        readers.spawn(never_reads(address));
        slow.spawn(
            async move { is_ended(address, b"POST / HTTP/1.1\r\nhost: localhost\r\nx: ", true).await },
        );
        let head = head.clone();
        slow.spawn(async move { is_ended(address, head.as_bytes(), true).await });
        let stalled = stalled.clone();
        slow.spawn(async move { is_ended(address, &stalled, false).await });
    }
}

/// Prints how many honest deliveries are accepted per second, alone and while all slow clients are connected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_deliveries_pass_slow_clients() {
    let count = slow_clients();
    let receiver = CountingReceiver::start(env!("CARGO_BIN_EXE_counting-receiver"), &[]);
    let mut tasks = JoinSet::new();
    let honest = Honest::start(receiver.address, &mut tasks);
    let measured = rounds(100, 5_000);
    let alone = rate(&honest, measured, &mut tasks).await;
    let (mut slow, mut readers) = (JoinSet::new(), JoinSet::new());
    start_slow_clients(receiver.address, count, &mut slow, &mut readers);
    // On a slow machine, the first ones end before the last ones are connected.
    while receiver.usage().await.descriptors < 4 * count && slow.try_join_next().is_none() {
        sleep(Duration::from_millis(10)).await;
    }
    let beside = rate(&honest, measured, &mut tasks).await;
    while slow.try_join_next().is_some() {}
    let left = slow.len();
    drop((slow, readers));
    honest.check(tasks, &receiver).await;
    eprintln!(
        "honest deliveries per second: {alone:.0} alone, {beside:.0} beside {count} slow clients of each of 4 kinds, \
         of which {left} of {} were not ended",
        3 * count
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_deliveries_pass_hostile_clients() {
    let count = slow_clients();
    let receiver = CountingReceiver::start(env!("CARGO_BIN_EXE_counting-receiver"), &[]);
    let (address, before) = (receiver.address, receiver.usage().await);
    let forged_request = delivery(0, &Secret::new("a guess").unwrap());
    let signature = secret_of_rotation(0).sign(b"another body").to_base64();

    let mut tasks = JoinSet::new();
    let honest = Honest::start(address, &mut tasks);
    let forged = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        tasks.spawn(forge(address, forged_request.clone(), honest.clone(), forged.clone()));
    }
    let requests = Arc::new(malformed(&signature, "not an event"));
    tasks.spawn(send_each(address, requests, honest.clone()));

    let mut readers = JoinSet::new();
    let mut slow = JoinSet::new();
    start_slow_clients(address, count, &mut slow, &mut readers);
    for _ in 0..4 {
        let sent = send_2_gb(address, &signature).await;
        assert!(sent < 32 * 1024 * 1024, "the server reads on after {sent} bytes");
    }
    timeout(GIVE_UP, slow.join_all()).await.expect("the server ends every slow head and body");
    wait_for(&honest.accepted, rounds(300, 10_000), &mut tasks).await;
    wait_for(&forged, rounds(5_000, 1_000_000), &mut tasks).await;
    drop(readers);
    let after = honest.check(tasks, &receiver).await;
    let (forged, grown) = (forged.load(SeqCst), after.peak - before.peak);
    eprintln!(
        "{count} slow clients of each of 4 kinds and {forged} forged requests: {} honest deliveries, {grown} KiB",
        honest.accepted.load(SeqCst),
    );
    // The documentation of `serve`. The slow heads and bodies are short.
    let limit = count * (STALLED_BODY_KIB + READER_KIB) + 32 * 1024;
    assert!(grown < limit, "{grown} KiB of memory, more than {limit}");
}
