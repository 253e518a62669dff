#!/usr/bin/env bash
# "1M" is a minute for ms 2.1.3 and duration-str 0.21.0, and a month for humantime 2.4.0.
#
# Guess: libraries that read durations such as "30d" from a configuration agree on "1M", or refuse it.
# Seen: humantime has m for minutes and M for months of 30.44 days. duration-str (Rust), ms and parse-duration (npm)
# ignore the case, and read a minute. None warns.
# It matters to whoever keeps ids of webhooks for `retention = "1M"`: after a change of library, or with a
# value shared by a service in Rust and one in Node, duplicates are forgotten after a minute.
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
duration-str = { version = "=0.21.0", default-features = false }
humantime = "=2.4.0"
TOML
cat > src/main.rs <<'RUST'
fn main() {
    println!("humantime: {:?}", humantime::parse_duration("1M").unwrap());
    println!("duration-str: {:?}", duration_str::parse("1M").unwrap());
}
RUST
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts ms@2.1.3 parse-duration@2.1.9
cat > run.js <<'JS'
import ms from 'ms';
import parse from 'parse-duration';
console.log(`ms: ${ms('1M') / 1000}s\nparse-duration: ${parse('1M') / 1000}s`);
JS
echo "humantime 2.4.0, duration-str 0.21.0, ms 2.1.3, parse-duration 2.1.9"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1; node run.js)
echo "$seen"
expected='humantime: 2630016s
duration-str: 60s
ms: 60s
parse-duration: 60s'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
