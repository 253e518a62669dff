#!/usr/bin/env bash
# ics 0.7.3 (PyPI) reads bookings from Outlook as UTC, ical-expander 3.2.0 those in a zone of the file as the server's time.
#
# Guess: a time with `TZID=W. Europe Standard Time`, or `TZID=Customized Time Zone`, is read with the VTIMEZONE of that name
# in the same file, which RFC 5545 demands and Exchange and Outlook write.
# Seen: ics asks its system for a zone of that name, finds none, and takes UTC: the meeting is two hours late. ical-expander
# has a list of zones with the names of Windows, but does not look at the file: with a name outside the list the meeting is
# in the zone of the process. No error. icalendar 7.3.2, ical.js 2.2.1 and node-ical 0.27.2 are right.
# It matters to whoever compares bookings with presence: each room looks empty while it is used, and used while it is free.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts ical-expander@3.2.0 ical.js@2.2.1 node-ical@0.27.2
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check icalendar==7.3.2 ics==0.7.3
cat > run.js <<'JS'
import IcalExpander from 'ical-expander';
import ICAL from 'ical.js';
import nodeIcal from 'node-ical';
import { readFileSync } from 'node:fs';
const ics = readFileSync(process.argv[2], 'utf8');
const show = (name, time) => console.log(`${name}: ${time.toISOString().slice(11, 16)}`);
show('ical-expander', new IcalExpander({ ics }).all().events[0].startDate.toJSDate());
show('ical.js', new ICAL.Event(new ICAL.Component(ICAL.parse(ics)).getFirstSubcomponent('vevent')).startDate.toJSDate());
show('node-ical', new Date(Object.values(nodeIcal.sync.parseICS(ics)).find(({ type }) => type === 'VEVENT').start));
JS
cat > run.py <<'PY'
import datetime, pathlib, subprocess
import icalendar, ics

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:finding
BEGIN:VTIMEZONE
TZID:{zone}
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:meeting
DTSTAMP:20260501T000000Z
DTSTART;TZID={zone}:20260521T100000
DTEND;TZID={zone}:20260521T110000
END:VEVENT
END:VCALENDAR
"""
for zone in "Europe/Zurich", "W. Europe Standard Time", "Customized Time Zone":
    print(f"10:00 in {zone}, in UTC")
    text = EVENT.format(zone=zone).replace("\n", "\r\n")
    pathlib.Path("event.ics").write_text(text, newline="")
    starts = {
        "ics": next(iter(ics.Calendar(text).events)).begin.datetime,
        "icalendar": icalendar.Calendar.from_ical(text).walk("VEVENT")[0].start,
    }
    for name, start in starts.items():
        print(f"{name}: {start.astimezone(datetime.timezone.utc):%H:%M}", flush=True)
    subprocess.run(["node", "run.js", "event.ics"], check=True)
PY
echo "ics 0.7.3, icalendar 7.3.2, ical-expander 3.2.0, ical.js 2.2.1, node-ical 0.27.2; process in UTC"
seen=$(TZ=UTC venv/bin/python run.py)
echo "$seen"
expected='10:00 in Europe/Zurich, in UTC
ics: 08:00
icalendar: 08:00
ical-expander: 08:00
ical.js: 08:00
node-ical: 08:00
10:00 in W. Europe Standard Time, in UTC
ics: 10:00
icalendar: 08:00
ical-expander: 08:00
ical.js: 08:00
node-ical: 08:00
10:00 in Customized Time Zone, in UTC
ics: 10:00
icalendar: 08:00
ical-expander: 10:00
ical.js: 08:00
node-ical: 08:00'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
