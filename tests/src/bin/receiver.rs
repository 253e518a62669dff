//! A receiver in a process of its own, to be killed: it writes each run of its handler to a log, and waits a little.
//!
//! It says its address on its standard output, and ends with its standard input, so that it does not outlive a test.

#![allow(clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "it talks to a test only")]

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use roomz_axum::{WebhookDelivery, WebhookLayer};
use roomz_redis::RedisStore;
use roomz_sql::SqlStore;
use roomz_tests::secret;
use roomz_webhook::store::IdempotencyStore;
use tokio::net::TcpListener;

/// How long a store may be out of reach when the process starts.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
/// One run in so many is a long one.
const LONG_ONE_IN: u32 = 60;

struct Handler {
    log: File,
    time: u64,
    long_time: u64,
}

#[tokio::main]
async fn main() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let store_timeout = millis("--store-timeout");
    let layer = WebhookLayer::builder(secret())
        .with_store(open_store(&argument("--store"), store_timeout).await)
        .with_store_timeout(store_timeout)
        .with_lease(millis("--lease"))
        .with_duplicate_wait(millis("--duplicate-wait"))
        .build()
        .unwrap();
    let handler = Handler {
        log: OpenOptions::new().append(true).create(true).open(argument("--log")).unwrap(),
        time: argument("--handler-time").parse().unwrap(),
        long_time: argument("--long-time").parse().unwrap(),
    };
    let app = Router::new().route("/", post(handle).layer(layer)).with_state(Arc::new(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

/// The line in the log is the effect: one write, which a kill leaves whole or not there.
async fn handle(State(handler): State<Arc<Handler>>, WebhookDelivery(delivery): WebhookDelivery) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let (id, attempt, process) = (delivery.event().id, delivery.attempt(), std::process::id());
    let line = format!("{id} {attempt} {now} {process}\n");
    assert_eq!((&handler.log).write(line.as_bytes()).unwrap(), line.len());
    let long = handler.long_time > 0 && rand::random_range(0..LONG_ONE_IN) == 0;
    let time = if long { handler.long_time } else { rand::random_range(0..=handler.time) };
    tokio::time::sleep(Duration::from_millis(time)).await;
}

/// The store of this URL, tried for a while: it may be away just now.
async fn open_store(url: &str, timeout: Duration) -> Arc<dyn IdempotencyStore> {
    let start = Instant::now();
    loop {
        let opened: Result<Arc<dyn IdempotencyStore>, String> = match url.split_once("://") {
            Some(("redis", _)) => {
                let builder = RedisStore::builder(url).with_connect_timeout(timeout);
                let store = builder.with_response_timeout(timeout).connect().await;
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
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn millis(name: &str) -> Duration {
    Duration::from_millis(argument(name).parse().unwrap())
}

fn argument(name: &str) -> String {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1);
    value.unwrap_or_else(|| panic!("{name} is missing"))
}
