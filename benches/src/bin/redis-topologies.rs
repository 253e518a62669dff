//! Claims and completions per second on one Redis server and on a Redis Cluster, next to two `SET`s by
//! `redis-benchmark`.
//!
//! `cargo run --release -p roomz-benches --bin redis-topologies`. All servers run on this machine. The
//! measurements alternate, and the program prints the median of each.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark that prints a table and may end with a panic"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomz_benches::{Goal, print_goal};
use roomz_redis::RedisStore;
use roomz_tests::{RedisCluster, Server, poll};
use roomz_webhook::EventId;
use roomz_webhook::store::{ClaimKey, ClaimRequest, Fingerprint, IdempotencyStore as _, Owner};

const ROUNDS: usize = 5;
/// The duration of each measurement.
const DURATION: Duration = Duration::from_millis(1_500);
const CONCURRENCY: u32 = 32;
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[tokio::main]
async fn main() {
    let Some(server) = Server::redis_or_skip(&[]) else { return };
    let Some(node) = Server::redis_or_skip(&["--cluster-enabled", "yes"]) else { return };
    node.add_cluster_slots(0..=16_383);
    poll("the cluster", || node.redis_text("CLUSTER INFO").contains("cluster_state:ok"));
    let Some(replicated) = RedisCluster::start_or_skip(&[]) else { return };
    let Some(mut masters) = RedisCluster::start_or_skip(&[]) else { return };
    // The replicas of this cluster end.
    masters.nodes.truncate(3);
    let stores = [
        connect(&format!("redis://{}", server.address())).await,
        connect(&format!("redis+cluster://{}", node.address())).await,
        connect(&masters.url()).await,
        connect(&replicated.url()).await,
    ];
    let (mut pairs, mut sets) = ([const { Vec::new() }; 4], Vec::new());
    for _ in 0..ROUNDS {
        for (store, results) in stores.iter().zip(&mut pairs) {
            results.push(pairs_per_second(store).await);
        }
        sets.push(redis_benchmark(&server, &["SET", "set:__rand_int__", &"x".repeat(100)]));
    }
    let [single, one_node, masters, replicated] = pairs.map(median);
    let sets = median(sets);
    println!("{CONCURRENCY} concurrent                     per second  relative to one server");
    for (name, per_second) in [
        ("one server", single),
        ("cluster, 1 master", one_node),
        ("cluster, 3 masters", masters),
        ("cluster, 3 masters, 3 replicas", replicated),
        ("redis-benchmark: two SET", sets),
    ] {
        println!("{name:<30} {per_second:>14.0} {:>23.2}", per_second / single);
    }
    print_goal("Redis, 32 concurrent ÷ redis-benchmark (two SET)", 0.86, single / sets, Goal::AtLeast(1.0));
    print_goal("Redis Cluster with 1 master ÷ one server", 0.0, one_node / single, Goal::AtLeast(0.9));
    print_goal("Redis Cluster with 3 masters ÷ one server", 0.0, masters / single, Goal::AtLeast(0.9));
}

async fn connect(url: &str) -> Arc<RedisStore> {
    Arc::new(RedisStore::connect(url).await.unwrap())
}

async fn pairs_per_second(store: &Arc<RedisStore>) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let store = Arc::clone(store);
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

/// One claim and its completion.
async fn pair(store: &RedisStore) {
    let id: EventId = format!("{:032x}", u128::from_be_bytes(Owner::random().to_bytes())).parse().unwrap();
    let (key, owner) = (ClaimKey::new("bench".into(), id), Owner::random());
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), Duration::from_secs(60), WEEK);
    let _ = store.claim(&key, &request).await.unwrap();
    let _ = store.complete(&key, owner, WEEK).await.unwrap();
}

/// Half of the commands per second, by `redis-benchmark`.
fn redis_benchmark(server: &Server, command: &[&str]) -> f64 {
    let (port, clients) = (server.port().to_string(), CONCURRENCY.to_string());
    let output = Command::new("redis-benchmark")
        .args(["-p", &port, "-c", &clients, "-n", "100000", "-r", "1000000000", "--csv"])
        .args(command)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = text.lines().nth(1).unwrap();
    // The first column is the command, which has no comma.
    row.split(',').nth(1).unwrap().trim_matches('"').parse::<f64>().unwrap() / 2.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}
