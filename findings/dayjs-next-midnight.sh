#!/usr/bin/env bash
# One day after midnight is 01:00 in dayjs 1.11.23 with a time zone, printed as midnight with an offset of another season.
#
# Guess: `dayjs.tz('2026-03-29', 'Europe/Zurich').add(1, 'day')` is the next midnight there, as in Moment.js, whose
# time zone functions the plugin mirrors.
# Seen: it keeps the offset and so adds 24 hours: the day ends at 01:00 local time. It prints 2026-03-30T00:00:00+01:00,
# a time that Zurich does not have on that day; `.tz()` once more shows 01:00. In autumn the day ends at 23:00. The same
# goes for weeks and months: the end of March is an hour late. `startOf` and `endOf` are right.
# It matters to whoever asks for the presence of one day, from `day` to `day.add(1, 'day')`: an hour belongs to two days,
# or to none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts dayjs@1.11.23 moment-timezone@0.6.6
cat > run.js <<'JS'
import dayjs from 'dayjs';
import timezone from 'dayjs/plugin/timezone.js';
import utc from 'dayjs/plugin/utc.js';
import moment from 'moment-timezone';
dayjs.extend(utc);
dayjs.extend(timezone);
const zone = 'Europe/Zurich';
for (const [day, unit] of [['2026-03-29', 'day'], ['2026-10-25', 'day'], ['2026-03-23', 'week'], ['2026-03-01', 'month']]) {
  const end = dayjs.tz(day, zone).add(1, unit);
  console.log(`${day} and a ${unit}: ${end.format()}, which is ${end.tz(zone).format('HH:mm')}; moment ${moment.tz(day, zone).add(1, unit).format()}`);
}
JS
echo "dayjs 1.11.23, moment-timezone 0.6.6"
seen=$(node run.js)
echo "$seen"
expected='2026-03-29 and a day: 2026-03-30T00:00:00+01:00, which is 01:00; moment 2026-03-30T00:00:00+02:00
2026-10-25 and a day: 2026-10-26T00:00:00+02:00, which is 23:00; moment 2026-10-26T00:00:00+01:00
2026-03-23 and a week: 2026-03-30T00:00:00+01:00, which is 01:00; moment 2026-03-30T00:00:00+02:00
2026-03-01 and a month: 2026-04-01T00:00:00+01:00, which is 01:00; moment 2026-04-01T00:00:00+02:00'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
