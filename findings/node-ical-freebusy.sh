#!/usr/bin/env bash
# node-ical 0.26.1 returns one broken period for a FREEBUSY line with several periods.
#
# Guess: each period of a FREEBUSY property becomes one entry with a start and an end. RFC 5545, 3.8.2.6,
# permits a list of periods in one property, each with an end or a duration, and shows that form in its
# examples.
# Seen: the line becomes one entry. Its end is the text between the first two slashes, and all later
# periods are gone. A period with a duration alone gets the duration's text as its end.
# It matters to whoever compares a room's calendar with its presence events: the room reads as free at
# 16:00 although it is booked, without an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts node-ical@0.26.1
cat > run.cjs <<'JS'
const ical = require('node-ical');
const text = [
  'BEGIN:VCALENDAR', 'VERSION:2.0', 'PRODID:-//room//EN',
  'BEGIN:VFREEBUSY', 'UID:room-1', 'DTSTAMP:20260601T000000Z',
  'DTSTART:20260601T000000Z', 'DTEND:20260602T000000Z',
  'FREEBUSY:20260601T080000Z/20260601T090000Z',
  'FREEBUSY:20260601T120000Z/PT3H,20260601T160000Z/PT1H',
  'END:VFREEBUSY', 'END:VCALENDAR', '',
].join('\r\n');
console.log(JSON.stringify(ical.sync.parseICS(text)['room-1'].freebusy.map(({ start, end }) => [start, end])));
JS
echo "node-ical $(node -p 'require("node-ical/package.json").version'), Node $(node --version)"
seen=$(node run.cjs)
echo "$seen"
expected='[["2026-06-01T08:00:00.000Z","2026-06-01T09:00:00.000Z"],["2026-06-01T12:00:00.000Z","PT3H,20260601T160000Z"]]'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
