#!/usr/bin/env bash
# prometheus-parse 0.2.5 (crate) cuts room names at a comma, loses other labels, or the whole sample.
#
# Guess: a parser of the text format of Prometheus reads label values as its specification says: any characters between
# quotes, with `\\`, `\"` and `\n` as escapes.
# Seen: labels are split at each comma, then at the first `=`. "Floor 2, east" becomes "Floor 2"; the label of "a=b" is
# gone; a sample with `}` in a value is gone too; escapes stay, and a last quote does not. No error. Two rooms become
# one series. parse-prometheus-text-format 1.1.1 (npm) reads all of them.
# It matters to whoever reads the metrics of a receiver in a test or an exporter, with names that people give to rooms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts parse-prometheus-text-format@1.1.1
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[profile.dev]
debug = false

[dependencies]
prometheus-parse = "=0.2.5"
TOML
cat > metrics <<'TEXT'
# TYPE seats gauge
seats{room="Floor 2, east"} 1
seats{room="Floor 2, west"} 2
seats{room="a=b"} 3
seats{room="Lab {2}"} 4
seats{room="The \"Box\""} 5
TEXT
cat > src/main.rs <<'RUST'
use prometheus_parse::{Scrape, Value};

fn main() {
    let text = std::fs::read_to_string("metrics").unwrap();
    for sample in Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap().samples {
        let Value::Gauge(value) = sample.value else { panic!("no gauge") };
        println!("prometheus-parse: {value} in {}", sample.labels.get("room").unwrap_or("no room"));
    }
}
RUST
cat > run.js <<'JS'
import parse from 'parse-prometheus-text-format';
import { readFileSync } from 'node:fs';
for (const { value, labels } of parse(readFileSync('metrics', 'utf8'))[0].metrics) {
  console.log(`parse-prometheus-text-format: ${value} in ${labels.room}`);
}
JS
echo "prometheus-parse 0.2.5, parse-prometheus-text-format 1.1.1"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1; node run.js)
echo "$seen"
expected='prometheus-parse: 1 in Floor 2
prometheus-parse: 2 in Floor 2
prometheus-parse: 3 in no room
prometheus-parse: 5 in The \"Box\
parse-prometheus-text-format: 1 in Floor 2, east
parse-prometheus-text-format: 2 in Floor 2, west
parse-prometheus-text-format: 3 in a=b
parse-prometheus-text-format: 4 in Lab {2}
parse-prometheus-text-format: 5 in The "Box"'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
