#!/usr/bin/env bash
# http-serde 2.1.1 leaves header values out that are not ASCII, without an error.
#
# Guess: `http_serde::header_map` serializes every value of an `http::HeaderMap`, or fails. RFC 9110, section 5.5, permits bytes above
# 127 in a value, and `http::HeaderValue` holds them.
# Seen: the values are left out. A header with one such value becomes an empty list, and is gone after the text is read again.
# It matters where requests are recorded as JSON: two header lines can become one.
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
http = "=1.4.0"
http-serde = "=2.1.1"
serde = { version = "=1.0.228", features = ["derive"] }
serde_json = "=1.0.145"
TOML
cat > src/main.rs <<'RUST'
use http::{HeaderMap, HeaderValue};

#[derive(serde::Deserialize, serde::Serialize)]
struct Saved {
    #[serde(with = "http_serde::header_map")]
    headers: HeaderMap,
}

fn main() {
    let mut headers = HeaderMap::new();
    headers.append("x-desk", HeaderValue::from_static("Window"));
    headers.append("x-desk", HeaderValue::from_bytes(b"B\xfcro").unwrap());
    headers.append("x-floor", HeaderValue::from_bytes(b"\xdcber").unwrap());
    let text = serde_json::to_string(&Saved { headers: headers.clone() }).unwrap();
    let read: Saved = serde_json::from_str(&text).unwrap();
    println!("{} values, {} after reading: {text}", headers.len(), read.headers.len());
}
RUST
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)
echo "$seen"
expected='3 values, 1 after reading: {"headers":{"x-desk":["Window"],"x-floor":[]}}'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
