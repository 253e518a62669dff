#!/usr/bin/env bash
# ical-generator 11.1.2 (npm) writes the end of a series in local time, and readers lose the last booking or refuse the series.
#
# Guess: a series in a time zone that ical-generator writes has, for any reader, the bookings that it was given.
# Seen: with `timezone` it writes `UNTIL` and `DTSTAMP` in local time without a mark; RFC 5545 demands UTC for both (3.3.10,
# 3.8.7.2). python-dateutil 2.9.0 refuses the series. recurring-ical-events 3.8.2 and ical.js 2.2.1 take the end for UTC and
# have two of three bookings at 22:00 in New York; node-ical 0.27.2 takes it for local time and has all.
# It matters to whoever offers bookings of rooms as a calendar: the last meeting is there for one reader only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts ical-generator@11.1.2 ical.js@2.2.1 node-ical@0.27.2 timezones-ical-library@2.3.2
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check recurring-ical-events==3.8.2 python-dateutil==2.9.0.post0 icalendar==7.3.2 tzdata==2026.6
cat > write.js <<'JS'
import ical from 'ical-generator';
import { tzlib_get_ical_block } from 'timezones-ical-library';
const [, , name, start] = process.argv;
const first = new Date(start), last = new Date(+first + 2 * 86_400_000);
const calendar = ical({ timezone: { name, generator: zone => tzlib_get_ical_block(zone)[0] } });
calendar.createEvent({ id: 'series', start: first, end: new Date(+first + 3_600_000), timezone: name, repeating: { freq: 'DAILY', until: last } });
console.log(calendar.toString());
JS
cat > read.js <<'JS'
import ICAL from 'ical.js';
import nodeIcal from 'node-ical';
import { readFileSync } from 'node:fs';
const text = readFileSync('series.ics', 'utf8');
const event = Object.values(nodeIcal.sync.parseICS(text)).find(({ type }) => type === 'VEVENT');
console.log(`node-ical ${event.rrule.all().length}`);
const times = new ICAL.Event(new ICAL.Component(ICAL.parse(text)).getFirstSubcomponent('vevent')).iterator();
let count = 0;
while (times.next()) count++;
console.log(`ical.js ${count}`);
JS
cat > read.py <<'PY'
import pathlib, re
from zoneinfo import ZoneInfo
import icalendar, recurring_ical_events
from dateutil.rrule import rrulestr

text = pathlib.Path("series.ics").read_bytes().decode()
print(*re.findall(r"^(?:DTSTART;TZID|RRULE:FREQ=DAILY).*?(?=\r?$)", text, re.M), sep="\n")
stamp = re.search(r"DTSTAMP:(\w+)", text)[1]
print("DTSTAMP", "with Z" if stamp.endswith("Z") else "without Z")
calendar = icalendar.Calendar.from_ical(text)
print("recurring-ical-events", len(recurring_ical_events.of(calendar).between((2026, 5, 1), (2026, 7, 1))))
lines = "\n".join(re.findall(r"^(?:DTSTART;TZID|RRULE:FREQ=DAILY).*?(?=\r?$)", text, re.M))
try:
    print("python-dateutil", len(list(rrulestr(lines, tzids=ZoneInfo))))
except ValueError:
    print("python-dateutil ValueError")
PY
echo "ical-generator 11.1.2, node-ical 0.27.2, ical.js 2.2.1, recurring-ical-events 3.8.2, python-dateutil 2.9.0.post0"
seen=$(for series in "Europe/Zurich 2026-05-19T08:00:00Z" "America/New_York 2026-05-20T02:00:00Z"; do
  TZ=${series% *} node write.js $series > series.ics
  TZ=UTC venv/bin/python read.py
  TZ=UTC node read.js
done)
echo "$seen"
expected='DTSTART;TZID=Europe/Zurich:20260519T100000
RRULE:FREQ=DAILY;UNTIL=20260521T100000
DTSTAMP without Z
recurring-ical-events 3
python-dateutil ValueError
node-ical 3
ical.js 3
DTSTART;TZID=America/New_York:20260519T220000
RRULE:FREQ=DAILY;UNTIL=20260521T220000
DTSTAMP without Z
recurring-ical-events 2
python-dateutil ValueError
node-ical 3
ical.js 2'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
