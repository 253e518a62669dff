#!/usr/bin/env bash
# rrule 2.8.1 (npm) drops the last booking of a series east of Greenwich, and keeps one that was cancelled.
#
# Guess: rrule reads a series of a time zone as RFC 5545 has it: `UNTIL`, which section 3.3.10 demands in UTC, is the last booking,
# and `EXDATE` removes the booking of that moment, in whatever zone it is written (3.8.5.1).
# Seen: both are taken for local times of the series. With UNTIL at 08:00 UTC the booking at 10:00 in Zurich, the same moment, is
# after the end. An EXDATE in UTC, or in the zone of another office, removes nothing. rrule-temporal 2.2.8 and python-dateutil
# 2.9.0 are right.
# It matters to whoever compares bookings with presence: the last meeting is "without a booking", a cancelled one a "no-show".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts rrule@2.8.1 rrule-temporal@2.2.8
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check python-dateutil==2.9.0.post0 tzdata==2026.6
cat > series.json <<'JSON'
{
  "UNTIL in Zurich": "DTSTART;TZID=Europe/Zurich:20260519T100000\nRRULE:FREQ=DAILY;UNTIL=20260521T080000Z",
  "EXDATE in Zurich": "DTSTART;TZID=Europe/Zurich:20260519T100000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE;TZID=Europe/Zurich:20260520T100000",
  "EXDATE in UTC": "DTSTART;TZID=Europe/Zurich:20260519T100000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260520T080000Z",
  "EXDATE in London": "DTSTART;TZID=Europe/Zurich:20260519T100000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE;TZID=Europe/London:20260520T090000"
}
JSON
cat > run.js <<'JS'
import { readFileSync } from 'node:fs';
import rrule from 'rrule';
import { RRuleTemporal } from 'rrule-temporal';
const show = (name, title, times) => console.log(`${title}, ${name}: ${times.map(time => time.slice(5, 16)).join(' ')}`);
for (const [title, text] of Object.entries(JSON.parse(readFileSync('series.json')))) {
  show('rrule', title, rrule.rrulestr(text).all().map(time => time.toISOString()));
  show('rrule-temporal', title, new RRuleTemporal({ rruleString: text }).all().map(time => time.toInstant().toString()));
}
JS
cat > run.py <<'PY'
import json, pathlib
from datetime import timezone
from zoneinfo import ZoneInfo
from dateutil.rrule import rrulestr

for title, text in json.loads(pathlib.Path("series.json").read_text()).items():
    times = [time.astimezone(timezone.utc).isoformat()[5:16] for time in rrulestr(text, tzids=ZoneInfo)]
    print(f"{title}, python-dateutil: {' '.join(times)}")
PY
echo "rrule 2.8.1, rrule-temporal 2.2.8, python-dateutil 2.9.0.post0; times in UTC"
seen=$( (TZ=UTC node run.js; venv/bin/python run.py) | LC_ALL=C sort)
echo "$seen"
expected='EXDATE in London, python-dateutil: 05-19T08:00 05-21T08:00
EXDATE in London, rrule-temporal: 05-19T08:00 05-21T08:00
EXDATE in London, rrule: 05-19T08:00 05-20T08:00 05-21T08:00
EXDATE in UTC, python-dateutil: 05-19T08:00 05-21T08:00
EXDATE in UTC, rrule-temporal: 05-19T08:00 05-21T08:00
EXDATE in UTC, rrule: 05-19T08:00 05-20T08:00 05-21T08:00
EXDATE in Zurich, python-dateutil: 05-19T08:00 05-21T08:00
EXDATE in Zurich, rrule-temporal: 05-19T08:00 05-21T08:00
EXDATE in Zurich, rrule: 05-19T08:00 05-21T08:00
UNTIL in Zurich, python-dateutil: 05-19T08:00 05-20T08:00 05-21T08:00
UNTIL in Zurich, rrule-temporal: 05-19T08:00 05-20T08:00 05-21T08:00
UNTIL in Zurich, rrule: 05-19T08:00 05-20T08:00'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
