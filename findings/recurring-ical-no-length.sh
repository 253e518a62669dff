#!/usr/bin/env bash
# recurring-ical-events 3.8.2 gives a nightly booking of one hour no length when summer time begins.
#
# Guess: each occurrence of a recurring event with DTEND lasts as long as the first one: "the same exact
# duration" (RFC 5545, 3.8.5.3).
# Seen: the clock of the first end is used for all ends. On 2026-03-29 in Zurich 02:30 does not exist; the
# start moves to 03:30, the end is 03:30 too. A booking from 22:00 to 06:00 lasts 7 hours in that night.
# It matters to whoever compares bookings of a room in shifts with presence: that night the room is never
# booked, and every presence in it looks like one without a booking.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check icalendar==7.3.2 recurring-ical-events==3.8.2 tzdata==2026.6
cat > run.py <<'PY'
from datetime import timezone
import icalendar, recurring_ical_events

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//room//EN
BEGIN:VEVENT
UID:booking
DTSTAMP:20260301T000000Z
DTSTART;TZID=Europe/Zurich:{}
DTEND;TZID=Europe/Zurich:{}
RRULE:FREQ=DAILY;COUNT=3
END:VEVENT
END:VCALENDAR
"""
for start, end in [("20260328T023000", "20260328T033000"), ("20260327T220000", "20260328T060000")]:
    calendar = icalendar.Calendar.from_ical(CALENDAR.format(start, end).replace("\n", "\r\n"))
    events = recurring_ical_events.of(calendar).between((2026, 3, 27), (2026, 4, 2))
    lengths = [event.end.astimezone(timezone.utc) - event.start.astimezone(timezone.utc) for event in events]
    print(f"{start} to {end}:", ", ".join(str(length) for length in lengths))
PY
venv/bin/pip list 2>/dev/null | grep -iE '^(icalendar|recurring)' | tr -s ' \n' '  '
echo
seen=$(venv/bin/python run.py)
echo "$seen"
expected='20260328T023000 to 20260328T033000: 1:00:00, 0:00:00, 1:00:00
20260327T220000 to 20260328T060000: 8:00:00, 7:00:00, 8:00:00'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
