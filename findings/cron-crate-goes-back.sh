#!/usr/bin/env bash
# The iterator of cron 0.17.0 (crate) goes back in time in the night when summer time ends.
#
# Guess: `Schedule::after` yields moments in ascending order, in a zone with summer time too.
# Seen: for each half hour in Europe/Zurich it yields 02:00 CEST, 02:00 CET, then 02:30 CEST, which is half an
# hour before: local times are put in order, and each one that occurs twice yields both of its moments. A daily
# job at 02:30 runs twice that night, and not at all in the night when summer time begins. croner 4.0.3 is right.
# It matters to whoever polls for missed deliveries, or removes expired claims, with the next time of a schedule:
# the wait to a time in the past is none, or an error on a subtraction of durations.
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
chrono = { version = "=0.4.45", default-features = false }
chrono-tz = "=0.10.4"
cron = "=0.17.0"
croner = "=4.0.3"
TOML
cat > src/main.rs <<'RUST'
use chrono::{DateTime, Utc};
use chrono_tz::{Europe::Zurich, Tz};

fn show(name: &str, times: impl Iterator<Item = DateTime<Tz>>) {
    let times: Vec<_> = times.take(5).collect();
    let text: Vec<_> = times.iter().map(|time| time.format("%d %H:%M %Z").to_string()).collect();
    println!("{name}: {}; ascending {}", text.join(", "), times.is_sorted());
}

fn main() {
    for (pattern, start) in [
        ("*/30 * * * *", "2026-10-24T23:45:00Z"),
        ("30 2 * * *", "2026-10-24T12:00:00Z"),
        ("30 2 * * *", "2026-03-27T12:00:00Z"),
    ] {
        let start = start.parse::<DateTime<Utc>>().unwrap().with_timezone(&Zurich);
        println!("{pattern} from {}", start.format("%Y-%m-%d"));
        let schedule: cron::Schedule = format!("0 {pattern}").parse().unwrap();
        show("cron", schedule.after(&start));
        show("croner", pattern.parse::<croner::Cron>().unwrap().iter_after(start));
    }
}
RUST
echo "cron 0.17.0, croner 4.0.3, chrono-tz 0.10.4"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1)
echo "$seen"
expected='*/30 * * * * from 2026-10-25
cron: 25 02:00 CEST, 25 02:00 CET, 25 02:30 CEST, 25 02:30 CET, 25 03:00 CET; ascending false
croner: 25 02:00 CEST, 25 02:30 CEST, 25 02:00 CET, 25 02:30 CET, 25 03:00 CET; ascending true
30 2 * * * from 2026-10-24
cron: 25 02:30 CEST, 25 02:30 CET, 26 02:30 CET, 27 02:30 CET, 28 02:30 CET; ascending true
croner: 25 02:30 CEST, 26 02:30 CET, 27 02:30 CET, 28 02:30 CET, 29 02:30 CET; ascending true
30 2 * * * from 2026-03-27
cron: 28 02:30 CET, 30 02:30 CEST, 31 02:30 CEST, 01 02:30 CEST, 02 02:30 CEST; ascending true
croner: 28 02:30 CET, 29 03:00 CEST, 30 02:30 CEST, 31 02:30 CEST, 01 02:30 CEST; ascending true'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
