//! The inbox next to other queues on PostgreSQL: jobs per second of a worker with a backlog.
//!
//! Installs riverqueue, graphile-worker, pg-boss and procrastinate at fixed versions in a temporary
//! directory, with `cargo`, `npm` and `python3 -m venv`. All use the same server with default settings, the
//! same concurrency and the same handler: one insert into the same table. They take turns.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use roomz_inbox::{BoxError, Inbox, Job, WorkspacePresenceChanged};
use roomz_protocol::testing::TestEvent;
use roomz_tests::Server;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use tokio::runtime::Runtime;
use tower::service_fn;

use crate::report::Goal::AtLeast;
use crate::report::Report;

/// The jobs of one round: fewer for queues that handle some hundred per second.
const JOBS: usize = 10_000;
const FEW_JOBS: usize = 1_000;
const FEWEST_JOBS: usize = 200;

const NODE_PACKAGES: [&str; 4] = ["node@24.21.0", "graphile-worker@0.18.0", "pg-boss@12.38.0", "pg@8.23.1"];
const PYTHON_PACKAGES: [&str; 2] = ["procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9"];
const RUST_PACKAGE: &str = r#"
[package]
name = "queue"
version = "0.0.0"
edition = "2024"

[dependencies]
riverqueue = "=0.5.0"
serde = { version = "1", features = ["derive"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread", "sync"] }

[workspace]
"#;

const PROGRAMS: [(&str, &str); 4] = [
    ("src/main.rs", include_str!("riverqueue.rs")),
    ("graphile-worker.mjs", include_str!("graphile-worker.mjs")),
    ("pg-boss.mjs", include_str!("pg-boss.mjs")),
    ("procrastinate_queue.py", include_str!("procrastinate_queue.py")),
];

const RIVER: &[&str] = &["target/release/queue"];
const GRAPHILE: &[&str] = &["node_modules/.bin/node", "graphile-worker.mjs"];
const PG_BOSS: &[&str] = &["node_modules/.bin/node", "pg-boss.mjs"];
const PROCRASTINATE: &[&str] = &["venv/bin/python", "procrastinate_queue.py"];
/// The name, the program with its first arguments (none is this program), the mode, and the number of jobs.
const QUEUES: [(&str, &[&str], &str, usize); 11] = [
    ("roomz-inbox", &[], "documented", JOBS),
    ("roomz-inbox", &[], "transaction", JOBS),
    ("riverqueue", RIVER, "documented", FEWEST_JOBS),
    ("riverqueue", RIVER, "fastest", JOBS),
    ("riverqueue", RIVER, "transaction", JOBS),
    ("graphile-worker", GRAPHILE, "documented", FEW_JOBS),
    ("graphile-worker", GRAPHILE, "fastest", JOBS),
    ("pg-boss", PG_BOSS, "documented", FEW_JOBS),
    ("pg-boss", PG_BOSS, "fastest", JOBS),
    ("procrastinate", PROCRASTINATE, "documented", FEW_JOBS),
    ("procrastinate", PROCRASTINATE, "fastest", FEW_JOBS),
];

pub(crate) fn measure(report: &mut Report) {
    let Some(server) = Server::postgres_or_skip(&["fsync=on"]) else {
        return report.leave_out("other queues", "PostgreSQL is not installed");
    };
    let directory = tempfile::tempdir().unwrap();
    if let Err(error) = install(directory.path()) {
        return report.leave_out("other queues", &error);
    }
    let runtime = Runtime::new().unwrap();
    for _ in 0..report.rounds {
        for concurrency in [10, 50] {
            // Of this project and of the fastest other queue, without and with a transaction.
            let (mut ours, mut fastest) = ([0.0; 2], [0.0_f64; 2]);
            for (name, program, mode, jobs) in QUEUES {
                let url = runtime.block_on(create_database(&server.postgres_url()));
                let (jobs, at_once) = (jobs.to_string(), concurrency.to_string());
                let arguments = [url.as_str(), &jobs, &at_once, mode];
                let program: Vec<_> = match program {
                    [] => vec![std::env::current_exe().unwrap(), "jobs".into()],
                    program => program.iter().map(|part| directory.path().join(part)).collect(),
                };
                let rate: f64 = run(directory.path(), &program, &arguments).unwrap().trim().parse().unwrap();
                let index = usize::from(mode == "transaction");
                if name == "roomz-inbox" {
                    ours[index] = rate;
                } else {
                    fastest[index] = fastest[index].max(rate);
                }
                report
                    .add(format!("queues, concurrency {concurrency}, jobs per second: {name}, {mode}"), rate);
            }
            for (index, kind) in ["without", "with"].into_iter().enumerate() {
                let name = format!(
                    "inbox ÷ the fastest other queue, {kind} a transaction, concurrency {concurrency}"
                );
                report.add_goal(name, AtLeast(1.3), ours[index] / fastest[index]);
            }
        }
    }
}

fn install(directory: &Path) -> Result<(), String> {
    std::fs::create_dir(directory.join("src")).unwrap();
    for (name, text) in PROGRAMS.into_iter().chain([("Cargo.toml", RUST_PACKAGE), ("package.json", "{}")]) {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let npm = [&["npm", "install", "--silent"], &NODE_PACKAGES[..]].concat();
    let pip = [&["venv/bin/pip", "install", "--quiet"], &PYTHON_PACKAGES[..]].concat();
    let build = ["cargo", "build", "--release", "--quiet", "--target-dir", "target"];
    for command in [&npm[..], &["python3", "-m", "venv", "venv"], &pip, &build] {
        drop(run(directory, command, &[])?);
    }
    Ok(())
}

/// Runs a command in a directory, and returns what it prints.
fn run(directory: &Path, program: &[impl AsRef<OsStr>], arguments: &[&str]) -> Result<String, String> {
    let (name, first) = program.split_first().unwrap();
    let mut command = Command::new(directory.join(name.as_ref()));
    if !directory.join(name.as_ref()).exists() {
        command = Command::new(name);
    }
    let output = command.args(first).args(arguments).current_dir(directory).stderr(Stdio::piped()).output();
    let name = name.as_ref().display();
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// Creates an empty database with the table of the handler, and returns its URL.
pub(crate) async fn create_database(server: &str) -> String {
    let mut admin = PgConnection::connect(server).await.unwrap();
    admin.execute("DROP DATABASE IF EXISTS queue WITH (FORCE)").await.unwrap();
    admin.execute("CREATE DATABASE queue").await.unwrap();
    admin.execute("CHECKPOINT").await.unwrap();
    let url = format!("{}/queue", server.strip_suffix("/postgres").unwrap());
    let mut database = PgConnection::connect(&url).await.unwrap();
    database.execute("CREATE TABLE applied (event_id TEXT, status TEXT)").await.unwrap();
    url
}

/// Returns the jobs per second of the inbox's worker.
pub(crate) fn work(url: &str, jobs: usize, concurrency: usize, mode: &str) -> f64 {
    Runtime::new().unwrap().block_on(jobs_per_second(url, jobs, concurrency, mode == "transaction"))
}

async fn jobs_per_second(url: &str, jobs: usize, concurrency: usize, has_transaction: bool) -> f64 {
    const BACKLOG: &str = "INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
         SELECT 'roomz', decode(md5(CAST(i AS TEXT)), 'hex'), 0, i, i, '', 0, 0, $1 FROM generate_series(1, $2) AS i";
    let connections = u32::try_from(concurrency).unwrap() + 3;
    let inbox = Inbox::builder(url).with_max_connections(connections).connect().await.unwrap();
    let pool = PgPool::connect(url).await.unwrap();
    let body = TestEvent::busy().body();
    let count = i64::try_from(jobs).unwrap();
    let _ = sqlx::query(BACKLOG).bind(body).bind(count).execute(&pool).await.unwrap();
    let start = Instant::now();
    let worker = inbox.worker(service_fn({
        let pool = pool.clone();
        move |job| handle(job, pool.clone(), has_transaction)
    }));
    let worker = worker.with_concurrency(concurrency).start();
    // The other queues count in the handler; here, an effect is committed after it.
    while sqlx::query_scalar::<_, i64>("SELECT count(*) FROM applied").fetch_one(&pool).await.unwrap() < count
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let elapsed = start.elapsed().as_secs_f64();
    worker.shutdown(Duration::from_secs(20)).await;
    jobs as f64 / elapsed
}

async fn handle(
    mut job: Job<WorkspacePresenceChanged>,
    pool: PgPool,
    has_transaction: bool,
) -> Result<(), BoxError> {
    let event = job.event();
    let insert = sqlx::query("INSERT INTO applied (event_id, status) VALUES ($1, $2)")
        .bind(event.id.to_string())
        .bind(event.data.presence_status.as_str().to_owned());
    let _ = if has_transaction {
        insert.execute(job.postgres().await?).await?
    } else {
        insert.execute(&pool).await?
    };
    Ok(())
}
