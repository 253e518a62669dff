#!/usr/bin/env bash
# `ExponentialBackoff::from_millis(100)` of tokio-retry 0.3.2 waits 10 s before the third attempt, 1000 s before the fourth.
#
# Guess: the number is the first delay, which is doubled each time: 100, 200, 400, 800 ms.
# Seen: the number is raised to the power of the attempt: 100 ms, 10 s, 16 min 40 s, 27 h. Doubling from 100 ms
# is `from_millis(2).factor(50)`.
# It matters to whoever retries inside a webhook handler, or forwards events with it: a test with two attempts
# looks right, and the sender has long given up when the third attempt begins.
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

[dependencies]
tokio-retry = "=0.3.2"
TOML
cat > src/main.rs <<'RUST'
use tokio_retry::strategy::ExponentialBackoff;

fn main() {
    println!("from_millis(100): {:?}", ExponentialBackoff::from_millis(100).take(4).collect::<Vec<_>>());
    println!("from_millis(2).factor(50): {:?}", ExponentialBackoff::from_millis(2).factor(50).take(4).collect::<Vec<_>>());
}
RUST
echo "tokio-retry 0.3.2"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1)
echo "$seen"
expected='from_millis(100): [100ms, 10s, 1000s, 100000s]
from_millis(2).factor(50): [100ms, 200ms, 400ms, 800ms]'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
