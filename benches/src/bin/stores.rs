//! What a claim and its completion cost in each store, next to what the server's own benchmark does in the same run.
//!
//! `cargo run --release -p roomz-benches --bin stores`; what has no server or no benchmark on the PATH is left out.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints a table, and may end with a failure")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::{postgres_url, redis_url};
use roomz_webhook::EventId;
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore, MokaStore, Owner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Store = Arc<dyn IdempotencyStore>;

const TIME: Duration = Duration::from_secs(3);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[tokio::main]
async fn main() {
    println!("{:<40} {:>8} {:>9}", "", "at once", "a second");
    measure("memory", &(Arc::new(MokaStore::new()) as _)).await;

    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/claims.db", directory.path().display());
    measure("SQLite", &(Arc::new(SqlStore::connect(url).await.unwrap()) as _)).await;
    itself("sqlite3: insert, update", 1, sqlite_itself(directory.path()));

    if let Some(url) = redis_url() {
        measure("Redis", &(Arc::new(RedisStore::connect(&url).await.unwrap()) as _)).await;
        let (url, trips) = counted(&url).await;
        round_trips("Redis", &(Arc::new(RedisStore::connect(&url).await.unwrap()) as _), &trips).await;
        for at_once in [1, 32] {
            itself("redis-benchmark: SET, SET", at_once, redis_itself(&redis_url().unwrap(), at_once));
        }
    }
    if let Some(url) = postgres_url() {
        measure("PostgreSQL", &(Arc::new(SqlStore::connect(url.as_str()).await.unwrap()) as _)).await;
        let (counted, trips) = counted(&url).await;
        round_trips("PostgreSQL", &(Arc::new(SqlStore::connect(counted).await.unwrap()) as _), &trips).await;
        for at_once in [1, 10] {
            itself("pgbench: insert, update", at_once, postgres_itself(&url, directory.path(), at_once));
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

async fn pair(store: &Store, key: &ClaimKey) {
    let owner = Owner::random();
    claim(store, key, owner).await;
    let _ = store.complete(key, owner, WEEK).await.unwrap();
}

async fn measure(name: &str, store: &Store) {
    let done = new_key();
    pair(store, &done).await;
    for at_once in [1, 32] {
        let pairs = repeat(store, at_once, None).await;
        itself(&format!("{name}: claim, completion"), at_once, Some(pairs));
    }
    for at_once in [1, 32] {
        let duplicates = repeat(store, at_once, Some(&done)).await;
        itself(&format!("{name}: a finished event's duplicate"), at_once, Some(duplicates));
    }
}

/// Claims and completes new events, or claims a finished one, for some time; gives how many a second.
async fn repeat(store: &Store, at_once: usize, duplicate_of: Option<&ClaimKey>) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (store, duplicate_of) = (Arc::clone(store), duplicate_of.cloned());
            tokio::spawn(async move {
                let mut done = 0_u32;
                while start.elapsed() < TIME {
                    match &duplicate_of {
                        Some(key) => claim(&store, key, Owner::random()).await,
                        None => pair(&store, &new_key()).await,
                    }
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0.0;
    for task in tasks {
        done += f64::from(task.await.unwrap());
    }
    done / start.elapsed().as_secs_f64()
}

fn itself(name: &str, at_once: usize, a_second: Option<f64>) {
    if let Some(a_second) = a_second {
        println!("{name:<40} {at_once:>8} {a_second:>9.0}");
    }
}

async fn round_trips(name: &str, store: &Store, trips: &AtomicU64) {
    pair(store, &new_key()).await;
    let (before, pairs) = (trips.load(Ordering::Relaxed), 1_000_u16);
    for _ in 0..pairs {
        pair(store, &new_key()).await;
    }
    let trips = (trips.load(Ordering::Relaxed) - before) as f64 / f64::from(pairs);
    println!("{name}: {trips:.2} round trips for a claim and its completion");
}

/// The URL of a way to the same server on which requests are counted: what arrives after something was sent back.
async fn counted(url: &str) -> (String, Arc<AtomicU64>) {
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
    let (mut asked, mut answered) = ([0; 65_536], [0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(length @ 1..) => {
                    trips.fetch_add(1, Ordering::Relaxed);
                    server.write_all(asked.get(..length).unwrap()).await.unwrap();
                }
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) => client.write_all(answered.get(..length).unwrap()).await.unwrap(),
                _ => return,
            },
        }
    }
}

/// Pairs a second of two commands like ours, by the server's own program.
fn redis_itself(url: &str, at_once: usize) -> Option<f64> {
    let (_, port) = url.rsplit_once(':')?;
    let at_once = at_once.to_string();
    let output = Command::new("redis-benchmark")
        .args([
            "-p", port, "-c", &at_once, "-n", "100000", "-r", "1000000", "-d", "100", "-t", "set", "--csv",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let a_second: f64 = text.lines().nth(1)?.split(',').nth(1)?.trim_matches('"').parse().ok()?;
    Some(a_second / 2.0)
}

fn postgres_itself(url: &str, directory: &Path, at_once: usize) -> Option<f64> {
    let (script, at_once) = (directory.join("pair.sql"), at_once.to_string());
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
        .args(["-n", "-M", "prepared", "-c", &at_once, "-j", "2", "-T", "3", "-f"])
        .arg(script)
        .arg(url)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// The same in SQLite's own shell, each statement a transaction that waits for the disk.
fn sqlite_itself(directory: &Path) -> Option<f64> {
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
        .arg(directory.join("itself.db"))
        .arg(format!(".read {}", file.display()))
        .stdout(std::process::Stdio::null())
        .status()
        .ok()?;
    status.success().then(|| f64::from(pairs) / start.elapsed().as_secs_f64())
}
