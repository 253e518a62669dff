#!/usr/bin/env bash
# date-fns 4.4.0 and arrow 1.4.0 put what happens in the second hour after 02:00 into the first, and list no second hour.
#
# Guess: `startOfHour` of a moment is at most an hour before it, and a list of the hours of a day has each hour: 25 on the
# day on which summer time ends.
# Seen: both set the minutes of a local time to zero, and a local time that occurs twice is taken for the first. The start
# of the hour of 01:30 UTC in Zurich is then 00:00 UTC, and `roundToNearestMinutes` goes back an hour, also in the zone of
# the process. `eachHourOfInterval` and `Arrow.range` list 24 hours. d3-time 3.1.1 and pendulum 3.3.0 have 25.
# It matters to whoever shows occupancy by hour: one hour shows the sum of two, or 200 %, and one is missing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts date-fns@4.4.0 d3-time@3.1.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check arrow==1.4.0 pendulum==3.3.0 tzdata==2026.6
cat > run.js <<'JS'
import { eachHourOfInterval, roundToNearestMinutes, startOfHour } from 'date-fns';
import { timeHour } from 'd3-time';
const start = new Date('2026-10-25T00:00'), end = new Date('2026-10-26T00:00');
const utc = time => time.toISOString().slice(11, 16);
const second = new Date('2026-10-25T01:30Z');
console.log(`date-fns: hour of 01:30 UTC begins ${utc(startOfHour(second))}, nearest quarter is ${utc(roundToNearestMinutes(second, { nearestTo: 15 }))}`);
const last = new Date(end - 1);
console.log(`date-fns: ${eachHourOfInterval({ start, end: last }).length} hours, ${eachHourOfInterval({ start, end: last }).slice(0, 5).map(utc).join(' ')}`);
console.log(`d3-time: hour of 01:30 UTC begins ${utc(timeHour.floor(second))}; ${timeHour.range(start, end).length} hours`);
JS
cat > run.py <<'PY'
import arrow, pendulum

ZONE = "Europe/Zurich"
SECOND = "2026-10-25T01:30Z"


def utc(time):
    return time.astimezone(pendulum.UTC).strftime("%H:%M")


start, end = arrow.get("2026-10-25", tzinfo=ZONE), arrow.get("2026-10-26", tzinfo=ZONE)
hours = [hour for hour in arrow.Arrow.range("hour", start, end) if hour < end]
print(f"arrow: hour of 01:30 UTC begins {utc(arrow.get(SECOND).to(ZONE).floor('hour').datetime)}")
print(f"arrow: {len(hours)} hours, {' '.join(utc(hour.datetime) for hour in hours[:5])}")
start, end = pendulum.datetime(2026, 10, 25, tz=ZONE), pendulum.datetime(2026, 10, 26, tz=ZONE)
hours = [hour for hour in pendulum.interval(start, end).range("hours") if hour < end]
begin = pendulum.parse(SECOND).in_timezone(ZONE).start_of("hour")
print(f"pendulum: hour of 01:30 UTC begins {utc(begin)}; {len(hours)} hours")
PY
echo "date-fns 4.4.0, d3-time 3.1.1, arrow 1.4.0, pendulum 3.3.0"
seen=$(TZ=Europe/Zurich node run.js; venv/bin/python run.py)
echo "$seen"
expected='date-fns: hour of 01:30 UTC begins 00:00, nearest quarter is 00:30
date-fns: 24 hours, 22:00 23:00 00:00 02:00 03:00
d3-time: hour of 01:30 UTC begins 01:00; 25 hours
arrow: hour of 01:30 UTC begins 00:00
arrow: 24 hours, 22:00 23:00 00:00 02:00 03:00
pendulum: hour of 01:30 UTC begins 01:00; 25 hours'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
