//! A receiver that a test starts as a process. Its handler logs each run, sleeps, and sometimes fails. Its
//! store logs each call.
//!
//! It prints its address to standard output. It exits when its standard input closes, so that it ends with
//! the test.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "only tests start it")]

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookLayer};
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::fleet::{CALLS, RUNS, Run};
use roomz_tests::recorder::{Log, Recorder};
use roomz_tests::secret;
use roomz_tests::sender::now;
use roomz_webhook::store::IdempotencyStore;
use tokio::net::TcpListener;

/// The maximum time until the store can be opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// One in this many runs is long.
const LONG_ONE_IN: u32 = 60;
/// One in this many events fails at its first attempt.
const FAILING_ONE_IN: u128 = 7;

struct Handler {
    log: Log,
    handler_time: u64,
    long_handler_time: u64,
}

#[tokio::main]
async fn main() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let store_timeout = millis("--store-timeout");
    let logs = PathBuf::from(argument("--logs"));
    let store = open_store(&argument("--store"), store_timeout).await;
    let layer = WebhookLayer::builder(secret())
        .with_store(Recorder::new(store, Log::open(&logs.join(CALLS))))
        .with_store_timeout(store_timeout)
        .with_lease(millis("--lease"))
        .with_duplicate_wait(millis("--duplicate-wait"))
        .build()
        .unwrap();
    let handler = Handler {
        log: Log::open(&logs.join(RUNS)),
        handler_time: argument("--handler-time").parse().unwrap(),
        long_handler_time: argument("--long-handler-time").parse().unwrap(),
    };
    let app = Router::new().route("/", post(handle).layer(layer)).with_state(Arc::new(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

/// The effect of the handler is one log line.
async fn handle(
    State(handler): State<Arc<Handler>>,
    WebhookDelivery(delivery): WebhookDelivery,
) -> StatusCode {
    let (id, attempt) = (delivery.event().id, delivery.attempt());
    let fails = attempt == 1 && id.as_uuid().as_u128().is_multiple_of(FAILING_ONE_IN);
    handler.log.write(&Run {
        id: id.to_string(),
        attempt,
        started: now(),
        process: std::process::id(),
        fails,
    });
    let is_long = handler.long_handler_time > 0 && rand::random_range(0..LONG_ONE_IN) == 0;
    let millis =
        if is_long { handler.long_handler_time } else { rand::random_range(0..=handler.handler_time) };
    tokio::time::sleep(Duration::from_millis(millis)).await;
    if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

/// Opens the store with this URL. Retries, because the store may be down.
async fn open_store(url: &str, timeout: Duration) -> Arc<dyn IdempotencyStore> {
    let start = Instant::now();
    loop {
        let opened: Result<Arc<dyn IdempotencyStore>, String> = match url.split_once("://") {
            Some(("redis" | "redis+cluster" | "redis+sentinel", _)) => {
                let store = RedisStore::builder(url).with_timeout(timeout).connect().await;
                store.map(|store| Arc::new(store) as _).map_err(|error| format!("{error:?}"))
            }
            _ => {
                let builder = SqlStore::builder(url).with_connect_timeout(timeout);
                let store = builder.with_response_timeout(timeout).connect().await;
                store.map(|store| Arc::new(store) as _).map_err(|error| format!("{error:?}"))
            }
        };
        match opened {
            Ok(store) => return store,
            Err(error) => assert!(start.elapsed() < OPEN_TIMEOUT, "{error}"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

fn millis(name: &str) -> Duration {
    Duration::from_millis(argument(name).parse().unwrap())
}

fn argument(name: &str) -> String {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1);
    value.unwrap_or_else(|| panic!("missing argument {name}"))
}
