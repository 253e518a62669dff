//! Claims and completions per second in each store, next to similar commands of the server's own benchmark.
//!
//! `cargo run --release -p roomz-benches --bin stores`. Servers and benchmarks that are not on the PATH are
//! skipped.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::{postgres_url_or_skip, redis_url_or_skip};
use roomz_webhook::EventId;
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, CompactStore, Fingerprint, IdempotencyStore, MokaStore, Owner,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Store = Arc<dyn IdempotencyStore>;

/// The duration of each measurement.
const DURATION: Duration = Duration::from_secs(3);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[tokio::main]
async fn main() {
    println!("{:<40} {:>10} {:>10}", "", "concurrent", "per second");
    measure("MokaStore", &(Arc::new(MokaStore::new()) as _)).await;
    measure("CompactStore", &(Arc::new(CompactStore::new()) as _)).await;

    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/claims.db", directory.path().display());
    measure("SQLite", &(Arc::new(SqlStore::connect(url).await.unwrap()) as _)).await;
    print_row("sqlite3: insert, update", 1, sqlite_baseline(directory.path()));

    if let Some(url) = redis_url_or_skip() {
        measure("Redis", &(Arc::new(RedisStore::connect(&url).await.unwrap()) as _)).await;
        let (proxy_url, trips) = counting_proxy(&url).await;
        measure_round_trips(
            "Redis",
            &(Arc::new(RedisStore::connect(&proxy_url).await.unwrap()) as _),
            &trips,
        )
        .await;
        for concurrency in [1, 32] {
            print_row("redis-benchmark: SET, SET", concurrency, redis_baseline(&url, concurrency));
        }
    }
    if let Some(url) = postgres_url_or_skip() {
        measure("PostgreSQL", &(Arc::new(SqlStore::connect(url.as_str()).await.unwrap()) as _)).await;
        let (proxy_url, trips) = counting_proxy(&url).await;
        measure_round_trips(
            "PostgreSQL",
            &(Arc::new(SqlStore::connect(proxy_url).await.unwrap()) as _),
            &trips,
        )
        .await;
        for concurrency in [1, 10] {
            print_row(
                "pgbench: insert, update",
                concurrency,
                postgres_baseline(&url, directory.path(), concurrency),
            );
        }
    }
}

fn new_key() -> ClaimKey {
    let id: EventId = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes())).parse().unwrap();
    ClaimKey::new("bench".into(), id)
}

async fn claim(store: &Store, key: &ClaimKey, owner: Owner) {
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), Duration::from_secs(60), WEEK);
    let _ = store.claim(key, &request).await.unwrap();
}

/// One claim and its completion.
async fn pair(store: &Store, key: &ClaimKey) {
    let owner = Owner::random();
    claim(store, key, owner).await;
    let _ = store.complete(key, owner, WEEK).await.unwrap();
}

async fn measure(name: &str, store: &Store) {
    let completed = new_key();
    pair(store, &completed).await;
    for concurrency in [1, 32] {
        let pairs = repeat(store, concurrency, None).await;
        print_row(&format!("{name}: claim, completion"), concurrency, Some(pairs));
    }
    for concurrency in [1, 32] {
        let duplicates = repeat(store, concurrency, Some(&completed)).await;
        print_row(&format!("{name}: duplicate of a completed event"), concurrency, Some(duplicates));
    }
}

/// Claims and completes new events, or claims a completed one, with this concurrency. Returns the number per
/// second.
async fn repeat(store: &Store, concurrency: usize, duplicate_of: Option<&ClaimKey>) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (store, duplicate_of) = (Arc::clone(store), duplicate_of.cloned());
            tokio::spawn(async move {
                let mut count = 0_u32;
                while start.elapsed() < DURATION {
                    match &duplicate_of {
                        Some(key) => claim(&store, key, Owner::random()).await,
                        None => pair(&store, &new_key()).await,
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut total = 0.0;
    for task in tasks {
        total += f64::from(task.await.unwrap());
    }
    total / start.elapsed().as_secs_f64()
}

fn print_row(name: &str, concurrency: usize, per_second: Option<f64>) {
    if let Some(per_second) = per_second {
        println!("{name:<40} {concurrency:>10} {per_second:>10.0}");
    }
}

async fn measure_round_trips(name: &str, store: &Store, trips: &AtomicU64) {
    pair(store, &new_key()).await;
    let (before, pairs) = (trips.load(Ordering::Relaxed), 1_000_u16);
    for _ in 0..pairs {
        pair(store, &new_key()).await;
    }
    let trips = (trips.load(Ordering::Relaxed) - before) as f64 / f64::from(pairs);
    println!("{name}: {trips:.2} round trips per claim and completion");
}

/// Starts a proxy to the server of this URL that counts round trips. Returns the URL of the proxy and the
/// counter.
async fn counting_proxy(url: &str) -> (String, Arc<AtomicU64>) {
    let (head, rest) = url.split_at(url.rfind("127.0.0.1").unwrap());
    let (server, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let server: SocketAddr = server.parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{head}{}/{tail}", listener.local_addr().unwrap());
    let trips = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&trips);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, TcpStream::connect(server).await.unwrap(), Arc::clone(&counter)));
        }
    });
    (url, trips)
}

async fn forward(mut client: TcpStream, mut server: TcpStream, trips: Arc<AtomicU64>) {
    let (mut request, mut reply) = ([0; 65_536], [0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => match read {
                Ok(length @ 1..) => {
                    trips.fetch_add(1, Ordering::Relaxed);
                    server.write_all(request.get(..length).unwrap()).await.unwrap();
                }
                _ => return,
            },
            read = server.read(&mut reply) => match read {
                Ok(length @ 1..) => client.write_all(reply.get(..length).unwrap()).await.unwrap(),
                _ => return,
            },
        }
    }
}

/// Pairs of `SET` per second, by `redis-benchmark`.
fn redis_baseline(url: &str, concurrency: usize) -> Option<f64> {
    let (_, port) = url.rsplit_once(':')?;
    let concurrency = concurrency.to_string();
    let output = Command::new("redis-benchmark")
        .args([
            "-p",
            port,
            "-c",
            &concurrency,
            "-n",
            "100000",
            "-r",
            "1000000",
            "-d",
            "100",
            "-t",
            "set",
            "--csv",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let per_second: f64 = text.lines().nth(1)?.split(',').nth(1)?.trim_matches('"').parse().ok()?;
    Some(per_second / 2.0)
}

/// An insert and an update of the same table per second, by `pgbench`.
fn postgres_baseline(url: &str, directory: &Path, concurrency: usize) -> Option<f64> {
    let (script, concurrency) = (directory.join("pair.sql"), concurrency.to_string());
    std::fs::write(
        &script,
        "\\set id random(1, 9000000000000000)\n\
         INSERT INTO roomz_claims VALUES ('pgbench', decode(lpad(to_hex(:id::bigint), 32, '0'), 'hex'), 0, '\\x00', '\\x00', 1, 0, 1) \
         ON CONFLICT DO NOTHING;\n\
         UPDATE roomz_claims SET state = 2, expires = 9000000000000000 \
         WHERE namespace = 'pgbench' AND event_id = decode(lpad(to_hex(:id::bigint), 32, '0'), 'hex');\n",
    )
    .ok()?;
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &concurrency, "-j", "2", "-T", "3", "-f"])
        .arg(script)
        .arg(url)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// An insert and an update per second, by the `sqlite3` shell. Each statement is a transaction that waits for
/// the disk.
fn sqlite_baseline(directory: &Path) -> Option<f64> {
    let pairs = 2_000;
    let mut script = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;\n\
                      CREATE TABLE claims (id BLOB PRIMARY KEY, state INTEGER, expires INTEGER);\n\
                      CREATE INDEX expires ON claims (expires);\n"
        .to_owned();
    for id in 0..pairs {
        script += &format!("INSERT INTO claims VALUES (x'{id:032x}', 0, {id});\n");
        script += &format!("UPDATE claims SET state = 2, expires = {id} + 1 WHERE id = x'{id:032x}';\n");
    }
    let file = directory.join("pairs.sql");
    std::fs::write(&file, script).ok()?;
    let start = Instant::now();
    let status = Command::new("sqlite3")
        .arg(directory.join("baseline.db"))
        .arg(format!(".read {}", file.display()))
        .stdout(std::process::Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| f64::from(pairs) / start.elapsed().as_secs_f64())
}
