//! What several receivers with one store reach: measured constants, a simulation with them, and runs that
//! check it. Needs root (each receiver has a network namespace), and `postgres` or `redis-server`. Takes
//! about five minutes.

mod measure;
mod network;
pub(crate) mod receiver;
mod simulation;

use std::time::Duration;

use roomz_tests::{Server, skipped};

use self::measure::{Measured, Setup};
use self::network::Namespace;
use self::simulation::{Cpu, Model, Outcome, simulate};

/// Concurrent deliveries of a receiver whose constants are measured and predicted.
const IN_FLIGHT: usize = 32;
/// The checks: receivers, and deliveries in flight for each.
const CHECKS: [(usize, usize); 6] = [(1, 8), (2, 8), (4, 8), (1, 64), (2, 64), (4, 64)];
const CHECKED_ROUND_TRIP: Duration = Duration::from_millis(5);
/// Of the predictions, in seconds: within a data center.
const ROUND_TRIP: f64 = 0.000_5;
/// The default of `with_concurrency`.
const WORKER_CONCURRENCY: usize = 10;
/// What a worker has taken and not recorded: the concurrency, and what it prefetches.
const PREFETCHED: usize = 266;

const CONSTANTS: &str = "one receiver, no delay; for each event: CPU µs of receiver, server and load, requests, commits, syncs; \
     ms of a sync, of the response (median, p99); connections; events per second";
const PREDICTIONS_TITLE: &str = "predicted with 1, 2, 4, 8 and 16 receivers: events per second (p99 ms; how busy a receiver and a server are); \
     receivers with 2 cores, PostgreSQL with 4, each Redis with 1";
const CHECKS_TITLE: &str = "on this machine, with a delay: receivers, in flight for each; events per second predicted, measured, error; \
     median ms predicted, measured";

/// Prints constants, predictions and checks.
pub(crate) async fn compare() {
    let hosts: Result<Vec<_>, _> = (1..=4).map(Namespace::create).collect();
    let hosts = match hosts {
        Ok(hosts) => hosts,
        Err(error) => return skipped("capacity", &format!("no network namespace: {error}")),
    };
    let (postgres, redis) = (
        Server::postgres_or_skip(&["fsync=on", "track_wal_io_timing=on"]),
        Server::redis_or_skip(&["--appendonly", "yes"]),
    );
    let mut setups = Vec::new();
    for (server, is_postgres) in [(&postgres, true), (&redis, false)] {
        let Some(server) = server else { continue };
        let claims =
            if is_postgres { ["PostgreSQL", "PostgreSQL, duplicate"] } else { ["Redis", "Redis, duplicate"] };
        for (name, duplicates) in claims.into_iter().zip([false, true]) {
            setups.push(Setup { name, kind: "claims", server, is_postgres, duplicates });
        }
        for (name, kind) in [("inbox", "inbox"), ("inbox, transaction", "inbox-transaction")] {
            if is_postgres {
                setups.push(Setup { name, kind, server, is_postgres, duplicates: false });
            }
        }
    }
    let mut constants = Vec::new();
    println!("{CONSTANTS}");
    for setup in &setups {
        let one = setup.run(&hosts[..1], 1, Duration::ZERO).await;
        let many = setup.run(&hosts[..1], IN_FLIGHT, Duration::ZERO).await;
        print_constants(setup, 1, &one);
        print_constants(setup, IN_FLIGHT, &many);
        constants.push((setup, models(setup, &one, &many)));
    }
    print_predictions(&constants);
    println!("\n{CHECKS_TITLE}");
    for (setup, models) in constants.iter().filter(|(setup, _)| !setup.duplicates) {
        for (receivers, in_flight) in CHECKS {
            if setup.is_inbox() && in_flight > CHECKS[0].1 {
                continue;
            }
            let round_trip = CHECKED_ROUND_TRIP.as_secs_f64();
            let predicted = predict(models, in_flight, |model| Model {
                receivers,
                round_trip: model.round_trip + round_trip,
                one_machine: true,
                ..model
            });
            let measured = setup.run(&hosts[..receivers], in_flight, CHECKED_ROUND_TRIP).await;
            let error = (predicted.per_second / measured.per_second - 1.0) * 100.0;
            println!(
                "{:<26} {receivers} {in_flight:>4} {:>9.0} {:>9.0} {error:>+5.0} % {:>9.2} {:>9.2}",
                setup.name,
                predicted.per_second,
                measured.per_second,
                predicted.median * 1e3,
                measured.median * 1e3
            );
        }
    }
}

/// The models of an endpoint and, with an inbox, of its worker: the slower one limits the other.
fn models(setup: &Setup<'_>, one: &Measured, many: &Measured) -> Vec<Model> {
    let cpu = |of: fn(&Measured) -> f64| {
        // A pipeline sends several requests at once, and a worker has requests of its own.
        let can_fit = setup.is_postgres && !setup.is_inbox();
        let slope = (of(one) - of(many)) / (one.requests - many.requests);
        let statement = if can_fit { slope.clamp(0.0, of(many) / many.requests) } else { 0.0 };
        Cpu { event: of(many) - statement * many.requests, statement }
    };
    let (receiver, server, load) =
        (cpu(|it| it.receiver_cpu), cpu(|it| it.server_cpu), cpu(|it| it.load_cpu));
    let calls = if setup.is_inbox() { 1 } else { one.requests.round() as usize };
    let commits = if setup.is_postgres && !setup.duplicates { calls } else { 0 };
    let (connections, batch) = if setup.is_postgres { (2, 128) } else { (usize::MAX, 1) };
    // What wakes threads, and other work of this machine.
    let cpu_of_one = one.receiver_cpu + one.server_cpu + one.load_cpu;
    let rest = if setup.is_inbox() { 0.0 } else { one.median - cpu_of_one - commits as f64 * one.sync };
    let endpoint = Model {
        receivers: 1,
        in_flight: IN_FLIGHT,
        calls,
        commits,
        connections,
        batch,
        round_trip: rest.max(0.0) / calls as f64,
        sync: many.sync,
        receiver,
        server,
        load,
        receiver_cores: 2,
        server_cores: if setup.is_postgres { 4 } else { 1 },
        servers: 1,
        one_machine: false,
    };
    let worker = match setup.kind {
        "inbox" => Model { in_flight: PREFETCHED, calls: 2, commits: 2, ..endpoint },
        "inbox-transaction" => Model {
            in_flight: WORKER_CONCURRENCY,
            calls: many.requests.round() as usize,
            commits: 1,
            connections: WORKER_CONCURRENCY,
            batch: 1,
            ..endpoint
        },
        _ => return vec![endpoint],
    };
    vec![endpoint, worker]
}

/// The outcome with this many deliveries in flight, of the slower of the models.
fn predict(models: &[Model], in_flight: usize, change: impl Fn(Model) -> Model) -> Outcome {
    let endpoint = simulate(&Model { in_flight, ..change(models[0]) });
    let worker = models.get(1).map(|worker| simulate(&change(*worker)).per_second);
    Outcome { per_second: worker.map_or(endpoint.per_second, |it| it.min(endpoint.per_second)), ..endpoint }
}

fn print_predictions(constants: &[(&Setup<'_>, Vec<Model>)]) {
    println!("\n{PREDICTIONS_TITLE}");
    for (setup, models) in constants {
        for servers in if setup.is_postgres { vec![1] } else { vec![1, 3, 6] } {
            print!("{:<22} {servers}", setup.name);
            for receivers in [1, 2, 4, 8, 16] {
                let change = |model: Model| Model {
                    receivers,
                    servers,
                    round_trip: model.round_trip + ROUND_TRIP,
                    ..model
                };
                let outcome = predict(models, IN_FLIGHT, change);
                print!(
                    "  {:>6.0} ({:.1}; {:.2}, {:.2})",
                    outcome.per_second,
                    outcome.p99 * 1e3,
                    outcome.receiver_busy,
                    outcome.server_busy
                );
            }
            println!();
        }
    }
}

fn print_constants(setup: &Setup<'_>, in_flight: usize, it: &Measured) {
    let [receiver, server, load] = [it.receiver_cpu, it.server_cpu, it.load_cpu].map(|seconds| seconds * 1e6);
    let (sync, median, p99) = (it.sync * 1e3, it.median * 1e3, it.p99 * 1e3);
    println!(
        "{:<22} {in_flight:>3} {receiver:>7.1} {server:>7.1} {load:>7.1} {:>7.2} {:>7.2} {:>7.3} {sync:>7.2} \
         {median:>7.2} {p99:>7.2} {:>5.0} {:>7.0}",
        setup.name, it.requests, it.commits, it.syncs, it.connections, it.per_second
    );
}
