#!/usr/bin/env bash
# `duration_trunc` of chrono 0.4.45 to one day is 23:00 of the day before, or 01:00, when summer time begins or ends.
#
# Guess: truncating a time in Europe/Zurich to one day gives the midnight on which its day began. It does on 363 days
# of the year, because chrono counts in local time, and its examples (in UTC) show just that.
# Seen: chrono subtracts the local time of day as if so much had passed. At noon of 2026-03-29 eleven hours had passed,
# and the result is 23:00 of the day before; in autumn it is 01:00. Before the change the result is midnight, so that
# the day falls apart. jiff 1.0.2 rounds to midnight.
# It matters to whoever sums presence by day: the day has two rows, and one of them is on the date of its neighbor.
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
chrono = { version = "=0.4.45", default-features = false, features = ["std"] }
chrono-tz = "=0.10.4"
jiff = { version = "=1.0.2", default-features = false, features = ["std", "tzdb-bundle-always"] }
TOML
cat > src/main.rs <<'RUST'
use chrono::{DateTime, DurationRound, TimeDelta};
use chrono_tz::Europe::Zurich;
use jiff::{RoundMode, Unit, ZonedDateTime, ZonedDateTimeRound};
use std::collections::BTreeMap;

fn main() {
    for day in ["2026-03-28", "2026-03-29", "2026-10-25"] {
        let mut days = BTreeMap::<_, [u32; 2]>::new();
        for hour in (0..24).filter(|hour| *hour != 2) {
            let zoned: ZonedDateTime = format!("{day}T{hour:02}:30[Europe/Zurich]").parse().unwrap();
            let time = |zoned: &ZonedDateTime| {
                DateTime::from_timestamp(zoned.timestamp().as_second(), 0).unwrap().with_timezone(&Zurich)
            };
            let with_chrono = time(&zoned).duration_trunc(TimeDelta::days(1)).unwrap();
            let to_day = ZonedDateTimeRound::new().smallest(Unit::Day).mode(RoundMode::Trunc);
            let with_jiff = time(&zoned.round(to_day).unwrap());
            days.entry(with_chrono.to_rfc3339()).or_default()[0] += 1;
            days.entry(with_jiff.to_rfc3339()).or_default()[1] += 1;
        }
        println!("{day}, half past each hour but two");
        for (midnight, [chrono, jiff]) in days {
            println!("  {midnight}: {chrono} with chrono, {jiff} with jiff");
        }
    }
}
RUST
echo "chrono 0.4.45, jiff 1.0.2"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet -j1)
echo "$seen"
expected='2026-03-28, half past each hour but two
  2026-03-28T00:00:00+01:00: 23 with chrono, 23 with jiff
2026-03-29, half past each hour but two
  2026-03-28T23:00:00+01:00: 21 with chrono, 0 with jiff
  2026-03-29T00:00:00+01:00: 2 with chrono, 23 with jiff
2026-10-25, half past each hour but two
  2026-10-25T00:00:00+02:00: 2 with chrono, 23 with jiff
  2026-10-25T01:00:00+02:00: 21 with chrono, 0 with jiff'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
