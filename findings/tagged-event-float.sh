#!/usr/bin/env bash
# With the feature `arbitrary_precision` of serde_json 1.0.154 an event enum with `tag = "type"` cannot hold 21.5.
#
# Guess: a feature that only adds (numbers keep their digits in `Value`) leaves derived types alone.
# Seen: in an internally tagged, adjacently tagged (tag last), untagged or flattened type each number with a fraction or
# an exponent becomes a map on its way to `f64`: "invalid type: map, expected f64". 21 still works, so 21.0 fails where 21
# passed. A plain struct is right. Features are unified: one dependency that asks for it (for decimals, say) does this to
# all crates of the program, and nothing is said when it is built.
# It matters to whoever reads webhooks into such an enum: after `cargo update` each reading with a fraction is refused.
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

[features]
dependency = ["serde_json/arbitrary_precision"] # as a dependency may ask for it

[dependencies]
serde = { version = "=1.0.229", features = ["derive"] }
serde_json = "=1.0.154"
TOML
cat > src/main.rs <<'RUST'
#![allow(dead_code)]
use serde::{Deserialize, de::DeserializeOwned};

#[derive(Debug, Deserialize)]
struct Reading {
    value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Temperature(Reading),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", content = "data")]
enum Adjacent {
    Temperature(Reading),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Temperature(Reading),
}

#[derive(Debug, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    reading: Reading,
}

fn show<T: DeserializeOwned>(name: &str, text: &str) {
    let seen = serde_json::from_str::<T>(text).map_or_else(|error| error.to_string(), |_| "read".to_owned());
    println!("  {name}: {}", seen.split(" at ").next().unwrap_or_default());
}

fn main() {
    for value in ["21", "21.0", "21.5", "2e1"] {
        println!("{value}");
        let flat = format!(r#"{{"type": "Temperature", "value": {value}}}"#);
        show::<Reading>("struct", &flat);
        show::<Tagged>("tag", &flat);
        show::<Adjacent>("tag and content", &format!(r#"{{"data": {{"value": {value}}}, "type": "Temperature"}}"#));
        show::<Untagged>("untagged", &flat);
        show::<Flattened>("flatten", &flat);
    }
}
RUST
echo "serde 1.0.229, serde_json 1.0.154"
export CARGO_TARGET_DIR=$folder/target
[ "$(cargo run --quiet -j1 | sort -u | grep -c read)" = 5 ] || { echo "without the feature not all is read" >&2; exit 1; }
seen=$(cargo run --quiet -j1 --features dependency)
echo "$seen"
expected='21
  struct: read
  tag: read
  tag and content: read
  untagged: read
  flatten: read
21.0
  struct: read
  tag: invalid type: map, expected f64
  tag and content: invalid type: map, expected f64
  untagged: data did not match any variant of untagged enum Untagged
  flatten: invalid type: map, expected f64
21.5
  struct: read
  tag: invalid type: map, expected f64
  tag and content: invalid type: map, expected f64
  untagged: data did not match any variant of untagged enum Untagged
  flatten: invalid type: map, expected f64
2e1
  struct: read
  tag: invalid type: map, expected f64
  tag and content: invalid type: map, expected f64
  untagged: data did not match any variant of untagged enum Untagged
  flatten: invalid type: map, expected f64'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
