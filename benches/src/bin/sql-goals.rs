//! The goals of the SQL stores: claims and completions per second, divided by the database's own benchmark.
//!
//! `cargo run --release -p roomz-benches --bin sql-goals`. Needs `postgres`, `pgbench` and `sqlite3`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_benches::{Goal, median, print_goal};
use roomz_sql::SqlStore;
use roomz_tests::Server;
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore as _, Owner};

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_secs(2);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    postgres(directory.path()).await;
    sqlite(directory.path()).await;
}

async fn postgres(directory: &Path) {
    let Some(server) = Server::postgres_or_skip(&["fsync=on"]) else { return };
    let url = server.postgres_url();
    let store = SqlStore::connect(url.as_str()).await.unwrap();
    let (mut at_1, mut at_32, mut at_128) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (alone, ten) = (pgbench(&url, directory, 1), pgbench(&url, directory, 10));
        let [one, few, many] = [
            pairs_per_second(&store, 1).await,
            pairs_per_second(&store, 32).await,
            pairs_per_second(&store, 128).await,
        ];
        println!(
            "per second: pgbench {alone:.0} and {ten:.0} (1 and 10 clients); the store {one:.0}, {few:.0} and {many:.0} (1, 32 and \
             128 concurrent)"
        );
        at_1.push(one / alone);
        at_32.push(few / ten);
        at_128.push(many / ten);
    }
    let name = |concurrency: usize, clients: usize| {
        format!("PostgreSQL, {concurrency} concurrent ÷ pgbench with {clients} clients")
    };
    println!("{:<62} measured {:>7.2}", name(1, 1), median(&mut at_1));
    print_goal(&name(32, 10), 0.70, median(&mut at_32), Goal::AtLeast(1.8));
    print_goal(&name(128, 10), 0.73, median(&mut at_128), Goal::AtLeast(3.5));
}

async fn sqlite(directory: &Path) {
    let url = format!("sqlite://{}/claims.db", directory.display());
    let store = SqlStore::connect(url).await.unwrap();
    let (mut at_1, mut at_32) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let shell = sqlite3(directory, round);
        let (one, few) = (pairs_per_second(&store, 1).await, pairs_per_second(&store, 32).await);
        println!("per second: sqlite3 {shell:.0}; the store {one:.0} and {few:.0} (1 and 32 concurrent)");
        at_1.push(one / shell);
        at_32.push(few / shell);
    }
    print_goal("SQLite, 1 concurrent ÷ sqlite3", 0.53, median(&mut at_1), Goal::AtLeast(0.68));
    print_goal("SQLite, 32 concurrent ÷ sqlite3", 0.52, median(&mut at_32), Goal::AtLeast(1.8));
}

/// Claims and completions of new events per second.
async fn pairs_per_second(store: &SqlStore, concurrency: usize) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut count = 0_u32;
                while start.elapsed() < DURATION {
                    pair(&store).await;
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

async fn pair(store: &SqlStore) {
    let id = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes()));
    let (key, owner) = (ClaimKey::new(Arc::from("bench"), id.parse().unwrap()), Owner::random());
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), Duration::from_secs(60), WEEK);
    let _ = store.claim(&key, &request).await.unwrap();
    let _ = store.complete(&key, owner, WEEK).await.unwrap();
}

/// Inserts and updates of the same table per second. Each statement is a transaction.
fn pgbench(url: &str, directory: &Path, clients: usize) -> f64 {
    let script = directory.join("pair.sql");
    std::fs::write(
        &script,
        "\\set id random(1, 9000000000000000)\n\
         INSERT INTO roomz_claims VALUES ('pgbench', decode(lpad(to_hex(:id::bigint), 32, '0'), 'hex'), 0, '\\x00', '\\x00', 1, 0, 1) \
         ON CONFLICT DO NOTHING;\n\
         UPDATE roomz_claims SET state = 2, expires = 9000000000000000 \
         WHERE namespace = 'pgbench' AND event_id = decode(lpad(to_hex(:id::bigint), 32, '0'), 'hex');\n",
    )
    .unwrap();
    let duration = DURATION.as_secs().to_string();
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-j", "2", "-T", &duration, "-f"])
        .arg(script)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("tps = ")).unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

/// Inserts and updates per second. Each statement is a transaction that waits for the disk.
fn sqlite3(directory: &Path, round: usize) -> f64 {
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
    std::fs::write(&file, script).unwrap();
    let start = Instant::now();
    let status = Command::new("sqlite3")
        .arg(directory.join(format!("baseline-{round}.db")))
        .arg(format!(".read {}", file.display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "sqlite3 failed");
    f64::from(pairs) / start.elapsed().as_secs_f64()
}
