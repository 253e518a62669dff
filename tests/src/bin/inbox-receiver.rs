//! An inbox that a test starts as a process: endpoint and worker. Its handler logs its call, inserts one row
//! into the table `presence_log` in the transaction of its event, and logs that. Some first attempts fail
//! after that. Some events kill the process.
//!
//! It prints its address to standard output. It exits when its standard input closes, so that it ends with
//! the test.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "only tests start it")]

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post_service;
use roomz_axum::WebhookLayer;
use roomz_inbox::{BoxError, Inbox, Job, WorkspacePresenceChanged};
use roomz_tests::fleet::{RUNS, Run};
use roomz_tests::inbox::{EFFECTS, Effect, KILLING_STATUS, LINES, Line};
use roomz_tests::recorder::Log;
use roomz_tests::secret;
use roomz_tests::sender::now;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::service_fn;

/// The maximum time until the database can be opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// One in this many events fails at its first attempt.
const FAILING_ONE_IN: u128 = 7;

struct Handler {
    calls: Log,
    effects: Log,
    handler_time: u64,
    transaction_time: u64,
}

#[tokio::main]
async fn main() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let logs = PathBuf::from(argument("--logs"));
    Line::log_to(&logs.join(LINES));
    let inbox = open(&argument("--database"), number("--concurrency")).await;
    let handler = Arc::new(Handler {
        calls: Log::open(&logs.join(RUNS)),
        effects: Log::open(&logs.join(EFFECTS)),
        handler_time: number("--handler-time"),
        transaction_time: number("--transaction-time"),
    });
    let backoff = millis("--backoff");
    let worker = inbox
        .worker(service_fn(move |job| handle(Arc::clone(&handler), job)))
        .with_concurrency(number("--concurrency"))
        .with_lease(millis("--lease"))
        .with_max_attempts(number("--max-attempts"))
        .with_backoff(backoff, backoff * 4)
        .with_poll_interval(POLL_INTERVAL)
        .start();
    let layer = WebhookLayer::builder(secret()).build().unwrap();
    let app = Router::new().route("/", post_service(inbox.endpoint()).layer(layer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
    drop(worker);
}

async fn handle(handler: Arc<Handler>, mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    let (id, attempt, process) = (job.event().id, job.attempt(), std::process::id());
    let fails = attempt == 1 && id.as_uuid().as_u128().is_multiple_of(FAILING_ONE_IN);
    let text = id.to_string();
    handler.calls.write(&Run { id: text.clone(), attempt, started: now(), process, fails });
    if job.event().data.presence_status.as_str() == KILLING_STATUS {
        kill_this_process();
    }
    random_pause(handler.handler_time).await;
    insert(&mut job, &text).await?;
    random_pause(handler.transaction_time).await;
    handler.effects.write(&Effect { id: text, attempt, process });
    if fails { Err("the first attempt of this event fails".into()) } else { Ok(()) }
}

/// The effect of the handler.
async fn insert(job: &mut Job<WorkspacePresenceChanged>, id: &str) -> Result<(), BoxError> {
    const SQL: &str =
        "INSERT INTO presence_log (event_id, attempt, process, handled_at) VALUES ($1, $2, $3, $4)";
    let values =
        (i64::from(job.attempt()), i64::from(std::process::id()), i64::try_from(now()).unwrap_or_default());
    macro_rules! insert_on {
        ($connection:expr) => {
            sqlx::query(SQL)
                .bind(id)
                .bind(values.0)
                .bind(values.1)
                .bind(values.2)
                .execute($connection)
                .await?
        };
    }
    if job.is_postgres() {
        let _ = insert_on!(job.postgres().await?);
    } else {
        let _ = insert_on!(job.sqlite().await?);
    }
    Ok(())
}

/// Ends this process with `SIGKILL`.
fn kill_this_process() {
    Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status().unwrap();
}

async fn random_pause(max: u64) {
    sleep(Duration::from_micros(rand::random_range(0..=max * 1_000))).await;
}

/// Opens the inbox in the database with this URL. Retries, because the database may be down.
async fn open(url: &str, concurrency: u32) -> Inbox {
    let start = Instant::now();
    loop {
        match Inbox::builder(url).with_max_connections(concurrency + 3).connect().await {
            Ok(inbox) => return inbox,
            Err(error) => assert!(start.elapsed() < OPEN_TIMEOUT, "{error:?}"),
        }
        sleep(RETRY_INTERVAL).await;
    }
}

fn millis(name: &str) -> Duration {
    Duration::from_millis(number(name))
}

fn number<N: std::str::FromStr>(name: &str) -> N {
    let value = argument(name);
    value.parse().unwrap_or_else(|_| panic!("invalid number for {name}: {value}"))
}

fn argument(name: &str) -> String {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1);
    value.unwrap_or_else(|| panic!("missing argument {name}"))
}
