#!/usr/bin/env bash
# One leap second is three instants in time 0.3.55, chrono 0.4.45 and jiff 1.0.2.
#
# Guess: Rust's readers of RFC 3339 map the valid leap second 2016-12-31T23:59:60Z to one instant, or refuse
# it.
# Seen: jiff reads the start of second 59, time the last nanosecond of it (also for 60.5), and chrono counts
# the start of the next day, but writes :60. As Unix time they are up to 1.5 s apart. A second 60 in the
# middle of a day is refused by time alone.
# It matters where services with different libraries order, deduplicate or expire events by their time; a
# receiver that gets both 23:59:59.9 and 23:59:60 sees the later event first with jiff.
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
chrono = { version = "=0.4.45", default-features = false, features = ["alloc"] }
jiff = { version = "=1.0.2", default-features = false, features = ["std"] }
time = { version = "=0.3.55", features = ["parsing"] }
TOML
cat > src/main.rs <<'RUST'
use time::format_description::well_known::Rfc3339;

fn main() {
    for text in ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2016-12-31T12:00:60Z"] {
        let chrono = chrono::DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_millis());
        let jiff = text.parse::<jiff::Timestamp>().map(|at| at.as_millisecond());
        let time = time::OffsetDateTime::parse(text, &Rfc3339).map(|at| at.unix_timestamp_nanos().div_euclid(1_000_000));
        println!("{text}: time {:?}, chrono {:?}, jiff {:?}", time.ok(), chrono.ok(), jiff.ok());
    }
}
RUST
echo "time 0.3.55, chrono 0.4.45, jiff 1.0.2; milliseconds since 1970"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet)
echo "$seen"
expected='2016-12-31T23:59:60Z: time Some(1483228799999), chrono Some(1483228800000), jiff Some(1483228799000)
2016-12-31T23:59:60.5Z: time Some(1483228799999), chrono Some(1483228800500), jiff Some(1483228799500)
2016-12-31T12:00:60Z: time None, chrono Some(1483185660000), jiff Some(1483185659000)'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
