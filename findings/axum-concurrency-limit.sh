#!/usr/bin/env bash
# A concurrency limit of 1 on an axum router (0.8.9) limits nothing across the connections of `axum::serve`, nor in a test.
#
# Guess: `Router::layer(ConcurrencyLimitLayer::new(1))` (tower 0.5.3) runs one request at a time. Its documentation says
# that the limit is one per service, and a Router is one service.
# Seen: axum builds the layer when a handler gets its state. `axum::serve(listener, app)` does that for each connection,
# `oneshot` in a test for each request: six of six run at once. With `app.into_make_service()` it is done once, for each
# method of each route: four at once. `GlobalConcurrencyLimitLayer` limits in all cases.
# It matters to whoever bounds handlers or database connections this way: senders open a connection for each webhook.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[profile.dev]
debug = false

[dependencies]
axum = { version = "=0.8.9", default-features = false, features = ["http1", "tokio"] }
tokio = { version = "1", features = ["io-util", "macros", "net", "rt", "time"] }
tower = { version = "=0.5.3", features = ["limit", "util"] }
TOML
cat > src/main.rs <<'RUST'
use axum::{Router, body::Body, http::Request, routing::post};
use std::{sync::atomic::{AtomicUsize, Ordering::SeqCst}, time::Duration};
use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}, task::JoinSet, time::sleep};
use tower::{ServiceExt, limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer}};

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

async fn handler() {
    MOST.fetch_max(RUNNING.fetch_add(1, SeqCst) + 1, SeqCst);
    sleep(Duration::from_millis(300)).await;
    RUNNING.fetch_sub(1, SeqCst);
}

fn routes(count: usize) -> Router {
    let paths = ["/a", "/b"];
    paths[..count].iter().fold(Router::new(), |router, path| router.route(path, post(handler).get(handler)))
}

#[derive(Clone, Copy, PartialEq)]
enum Run {
    Serve,
    MakeService,
    Oneshot,
}

async fn most_at_once(name: &str, app: Router, run: Run) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = app.clone();
    match run {
        Run::Serve => drop(tokio::spawn(async { axum::serve(listener, served).await })),
        Run::MakeService => drop(tokio::spawn(async { axum::serve(listener, served.into_make_service()).await })),
        Run::Oneshot => {}
    }
    let mut requests = JoinSet::new();
    for (method, path) in [("GET", "/a"), ("POST", "/a"), ("POST", "/a"), ("GET", "/b"), ("POST", "/b"), ("POST", "/b")] {
        let app = app.clone();
        requests.spawn(async move {
            if run != Run::Oneshot {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                stream.read_to_end(&mut Vec::new()).await.unwrap();
            } else {
                let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
                app.oneshot(request).await.unwrap();
            }
        });
    }
    while requests.join_next().await.is_some() {}
    println!("{name}, {} at once", MOST.swap(0, SeqCst));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (limit, global) = (ConcurrencyLimitLayer::new(1), GlobalConcurrencyLimitLayer::new(1));
    for (name, run) in [("serve", Run::Serve), ("serve, into_make_service", Run::MakeService), ("oneshot", Run::Oneshot)] {
        most_at_once(&format!("{name}: two routes"), routes(2).layer(limit.clone()), run).await;
        most_at_once(&format!("{name}: one route"), routes(1).layer(limit.clone()), run).await;
        most_at_once(&format!("{name}: two routes, global"), routes(2).layer(global.clone()), run).await;
    }
}
RUST
echo "axum 0.8.9, tower 0.5.3"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j2)
echo "$seen"
expected='serve: two routes, 6 at once
serve: one route, 3 at once
serve: two routes, global, 1 at once
serve, into_make_service: two routes, 4 at once
serve, into_make_service: one route, 2 at once
serve, into_make_service: two routes, global, 1 at once
oneshot: two routes, 6 at once
oneshot: one route, 3 at once
oneshot: two routes, global, 1 at once'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
