#!/usr/bin/env bash
# A counter whose handle is kept never comes back after the idle timeout of metrics-exporter-prometheus 0.18.3.
#
# Guess: an idle metric is removed "until the metric is emitted again", as `idle_timeout` says: `increment` on a handle that
# the program keeps (`let busy = counter!(…)`, to save the look-up on each event) brings it back.
# Seen: the handle goes on counting in a place of its own, which no scrape shows. Only a new `counter!(…)` brings the metric
# back, and without what the handle counted.
# It matters to whoever has a timeout against labels of rooms that are gone, and handles kept in a struct: after the first
# quiet weekend events arrive, their counter is gone, and an alert on "no events" rings, or one on failures never does.
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
metrics = "=0.24.6"
metrics-exporter-prometheus = { version = "=0.18.3", default-features = false }
metrics-util = { version = "=0.20.4", default-features = false }
TOML
cat > src/main.rs <<'RUST'
use std::{thread::sleep, time::Duration};

use metrics::counter;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;

fn main() {
    let idle = Duration::from_secs(1);
    let recorder = PrometheusBuilder::new().idle_timeout(MetricKindMask::ALL, Some(idle)).build_recorder();
    let scrape = |when| {
        let text = recorder.handle().render();
        println!("{when}: {}", text.lines().find(|line| !line.starts_with('#')).unwrap_or("nothing"));
    };
    metrics::with_local_recorder(&recorder, || {
        let kept = counter!("events_total", "status" => "Busy");
        kept.increment(5);
        scrape("5 events");
        sleep(2 * idle);
        scrape("idle");
        kept.increment(3);
        scrape("3 more on the kept handle");
        kept.increment(4);
        scrape("4 more on it");
        counter!("events_total", "status" => "Busy").increment(1);
        scrape("1 more on a new handle");
    });
}
RUST
echo "metrics-exporter-prometheus 0.18.3, metrics 0.24.6"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1)
echo "$seen"
expected='5 events: events_total{status="Busy"} 5
idle: nothing
3 more on the kept handle: nothing
4 more on it: nothing
1 more on a new handle: events_total{status="Busy"} 1'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
