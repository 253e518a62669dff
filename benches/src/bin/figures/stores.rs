//! Claims and completions in each store: the memory of an id, and the rates next to the server's own
//! benchmark.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_protocol::Uuid;
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::{RedisCluster, Server, poll};
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, CompactStore, Fingerprint, IdempotencyStore, MokaStore, Owner,
};
use tokio::runtime::Runtime;

use crate::report::Goal::{AtLeast, AtMost};
use crate::report::Report;
use crate::requests::runtime;
use crate::server::resident_bytes;

/// The duration of each measurement.
const DURATION: Duration = Duration::from_secs(1);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MILLION: u128 = 1_000_000;
/// The first of the ids that no delivery has.
pub(crate) const FIRST_OLD_ID: u128 = 1 << 64;

pub(crate) type Store = Arc<dyn IdempotencyStore>;

pub(crate) fn measure(report: &mut Report) {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..report.rounds {
        in_memory(report);
    }
    sqlite(report, &runtime, directory.path());
    postgres(report, &runtime, directory.path());
    redis(report, &runtime);
}

fn in_memory(report: &mut Report) {
    for (store, name, goal) in [("moka", "`MokaStore`", 340.0), ("compact", "`CompactStore`", 100.0)] {
        let [empty, growing, full, micros] = filled_bytes(store);
        report.add_goal(format!("bytes per id, 1 000 000 ids: {name}"), AtMost(goal), growing / 1e6);
        report.add(format!("bytes per id, full: {name}"), full / 1e6);
        report.add(format!("empty store: {name}, MB"), empty / 1e6);
        report.add(format!("claim and completion, full: {name}, µs"), micros);
        let (alone, of_eight) = (tasks(store, 1), tasks(store, 8));
        report.add_goal(format!("8 tasks ÷ 1 task: {name}"), AtLeast(1.5), of_eight / alone);
        report.add(format!("claim and completion, growing: {name}, µs"), 1e6 / alone);
    }
}

/// A store in memory with this capacity.
pub(crate) fn store_in_memory(name: &str, capacity: u64) -> Store {
    match name {
        "moka" => Arc::new(MokaStore::builder().with_capacity(capacity).build()),
        _ => Arc::new(CompactStore::builder().with_capacity(capacity).build()),
    }
}

/// The bytes of an empty store, of one with a million ids, and of one that is full, and the microseconds of
/// a claim and its completion when it is full. In a process of its own, because a process reuses freed
/// memory.
pub(crate) fn filled_bytes(store: &str) -> [f64; 4] {
    let output = Command::new(std::env::current_exe().unwrap()).args(["fill", store]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let values: Vec<f64> = text.split_whitespace().map(|value| value.parse().unwrap()).collect();
    values.try_into().unwrap()
}

pub(crate) fn fill(store: &str) {
    let runtime = runtime();
    runtime.block_on(pairs(&*store_in_memory(store, 1_000), 0..1_000));
    let before = resident_bytes("self");
    let store = store_in_memory(store, 1_000_000);
    let bytes = || resident_bytes("self") - before;
    let empty = bytes();
    runtime.block_on(pairs(&*store, 0..MILLION));
    let growing = bytes();
    runtime.block_on(pairs(&*store, MILLION..2 * MILLION));
    let start = Instant::now();
    runtime.block_on(pairs(&*store, 2 * MILLION..3 * MILLION));
    println!("{empty} {growing} {} {}", bytes(), start.elapsed().as_secs_f64() * 1e6 / MILLION as f64);
}

/// Claims and completions per second of some tasks on two workers.
fn tasks(store: &str, tasks: u128) -> f64 {
    let store = store_in_memory(store, 1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        let part = MILLION / tasks;
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { pairs(&*store, part * task..part * (task + 1)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    MILLION as f64 / start.elapsed().as_secs_f64()
}

fn sqlite(report: &mut Report, runtime: &Runtime, directory: &Path) {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return report.leave_out("SQLite ÷ sqlite3", "sqlite3 is not installed");
    }
    let store = connect_sql(runtime, &format!("sqlite://{}/claims.db", directory.display()));
    for round in 0..report.rounds {
        let shell = sqlite3(directory, round);
        report.add("claims and completions per second: `sqlite3`, insert and update", shell);
        for (concurrency, goal) in [(1, 0.68), (32, 1.8)] {
            let rate = pairs_per_second(runtime, &store, concurrency, DURATION);
            report.add_goal(
                format!("SQLite, {concurrency} concurrent ÷ sqlite3"),
                AtLeast(goal),
                rate / shell,
            );
            report.add(format!("claims and completions per second: SQLite, {concurrency} concurrent"), rate);
        }
    }
}

fn postgres(report: &mut Report, runtime: &Runtime, directory: &Path) {
    let Some(server) = Server::postgres_or_skip(&["fsync=on"]) else {
        return report.leave_out("PostgreSQL ÷ pgbench", "PostgreSQL is not installed");
    };
    let url = server.postgres_url();
    let store = connect_sql(runtime, &url);
    for _ in 0..report.rounds {
        let [alone, ten] = [1, 10].map(|clients| {
            let rate = pgbench(&url, directory, clients);
            report.add(
                format!("claims and completions per second: `pgbench`, insert and update, {clients} clients"),
                rate,
            );
            rate
        });
        for (concurrency, base, clients, goal) in
            [(1, alone, 1, None), (32, ten, 10, Some(1.8)), (128, ten, 10, Some(3.5))]
        {
            let rate = pairs_per_second(runtime, &store, concurrency, DURATION);
            let name = format!("PostgreSQL, {concurrency} concurrent ÷ pgbench with {clients} clients");
            match goal {
                Some(goal) => report.add_goal(name, AtLeast(goal), rate / base),
                None => report.add(name, rate / base),
            }
            report.add(
                format!("claims and completions per second: PostgreSQL, {concurrency} concurrent"),
                rate,
            );
        }
    }
}

fn redis(report: &mut Report, runtime: &Runtime) {
    let start = || {
        let server = Server::redis_or_skip(&[])?;
        let node = Server::redis_or_skip(&["--cluster-enabled", "yes"])?;
        node.add_cluster_slots(0..=16_383);
        poll("the cluster", || node.redis_text("CLUSTER INFO").contains("cluster_state:ok"));
        let mut masters = RedisCluster::start_or_skip(&[])?;
        // Its replicas end.
        masters.nodes.truncate(3);
        Some((server, node, masters))
    };
    let Some((server, node, masters)) = start() else {
        return report.leave_out("Redis ÷ redis-benchmark", "Redis is not installed");
    };
    let connect = |url: &str| Arc::new(runtime.block_on(RedisStore::connect(url)).unwrap()) as Store;
    let single = connect(&format!("redis://{}", server.address()));
    let clusters = [
        ("Redis Cluster with 1 master", connect(&format!("redis+cluster://{}", node.address()))),
        ("Redis Cluster with 3 masters", connect(&masters.url())),
    ];
    for _ in 0..report.rounds {
        let base = redis_benchmark(&server);
        report.add("claims and completions per second: `redis-benchmark`, two SET, 32 clients", base);
        let rate = pairs_per_second(runtime, &single, 32, DURATION);
        report.add_goal("Redis, 32 concurrent ÷ redis-benchmark (two SET)", AtLeast(1.0), rate / base);
        for (name, store) in
            [("Redis", &single), (clusters[0].0, &clusters[0].1), (clusters[1].0, &clusters[1].1)]
        {
            let [one, few] =
                [1, 32].map(|concurrency| pairs_per_second(runtime, store, concurrency, DURATION));
            if name != "Redis" {
                report.add_goal(format!("{name} ÷ one server"), AtLeast(0.9), few / rate);
            }
            report.add(format!("claims and completions per second: {name}, 1 concurrent"), one);
            report.add(format!("claims and completions per second: {name}, 32 concurrent"), few);
        }
    }
}

/// Calls it with the name and the URL of each SQL database.
pub(crate) fn for_each_database(mut measure: impl FnMut(&str, &str)) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    measure("SQLite", &format!("sqlite://{}/database.db", directory.path().display()));
    let server = Server::postgres_or_skip(&["fsync=on"]).ok_or("PostgreSQL is not installed")?;
    measure("PostgreSQL", &server.postgres_url());
    Ok(())
}

/// Adds completed claims that expire at this time, in milliseconds since 1970.
pub(crate) async fn fill_claims(url: &str, count: i64, expires: i64) {
    const POSTGRES: &str = "INSERT INTO roomz_claims SELECT 'old', uuid_send(gen_random_uuid()), 2, '', '', 1, 1, $2 + i \
                            FROM generate_series(1, $1) AS i";
    const SQLITE: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT $1) \
                          INSERT INTO roomz_claims SELECT 'old', randomblob(16), 2, zeroblob(16), zeroblob(16), 1, 1, $2 + i FROM n";
    if url.starts_with("sqlite") {
        let pool = sqlx::SqlitePool::connect(url).await.unwrap();
        let _ = sqlx::query(SQLITE).bind(count).bind(expires).execute(&pool).await.unwrap();
    } else {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        let _ = sqlx::query(POSTGRES).bind(count).bind(expires).execute(&pool).await.unwrap();
        for statement in ["VACUUM ANALYZE roomz_claims", "CHECKPOINT"] {
            crate::inbox::execute(url, statement).await;
        }
    }
}

pub(crate) fn connect_sql(runtime: &Runtime, url: &str) -> Store {
    Arc::new(runtime.block_on(SqlStore::connect(url)).unwrap())
}

/// Claims and completes events with these ids.
pub(crate) async fn pairs(store: &dyn IdempotencyStore, ids: Range<u128>) {
    let namespace: Arc<str> = "bench".into();
    for id in ids {
        // Spread over all bits, as random ids are.
        let id = Uuid::from_u128(id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
        pair(store, &ClaimKey::new(Arc::clone(&namespace), id.into())).await;
    }
}

pub(crate) async fn pair(store: &dyn IdempotencyStore, key: &ClaimKey) {
    let owner = Owner::random();
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), Duration::from_secs(60), WEEK);
    let _ = store.claim(key, &request).await.unwrap();
    let _ = store.complete(key, owner, WEEK).await.unwrap();
}

/// Claims and completions of new events per second.
pub(crate) fn pairs_per_second(
    runtime: &Runtime,
    store: &Store,
    concurrency: usize,
    duration: Duration,
) -> f64 {
    let worker = || {
        let store = Arc::clone(store);
        move |start: Instant| async move {
            let mut count = 0;
            while start.elapsed() < duration {
                pair(&*store, &ClaimKey::new("bench".into(), Uuid::from_u128(rand::random()).into())).await;
                count += 1;
            }
            count
        }
    };
    runtime.block_on(crate::inbox::closed_loop((0..concurrency).map(|_| worker()).collect()))
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
    let output = Command::new("sqlite3")
        .arg(directory.join(format!("baseline-{round}.db")))
        .arg(format!(".read {}", file.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "sqlite3 failed");
    f64::from(pairs) / start.elapsed().as_secs_f64()
}

/// Half of the `SET` commands per second.
fn redis_benchmark(server: &Server) -> f64 {
    let output = Command::new("redis-benchmark")
        .args(["-p", &server.port().to_string(), "-c", "32", "-n", "100000", "-r", "1000000000", "--csv"])
        .args(["SET", "set:__rand_int__", &"x".repeat(100)])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = text.lines().nth(1).unwrap();
    // The first column is the command, which has no comma.
    row.split(',').nth(1).unwrap().trim_matches('"').parse::<f64>().unwrap() / 2.0
}
