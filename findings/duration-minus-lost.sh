#!/usr/bin/env bash
# dayjs 1.11.23 writes a quarter of an hour before as `-PT15M`, and reads that as a quarter of an hour after.
#
# Guess: a duration is read back as it was written, with its sign in front, which iCalendar writes in each reminder too
# ("TRIGGER:-PT15M"). ISO 8601 allows a comma for the point: `PT0,5H` is half an hour, or refused.
# Seen: `toISOString` writes the sign, and the parser drops it. Half an hour with a comma is 0 ms. No error is reported.
# moment 2.30.1 is right, and so is Luxon 3.7.2, which refuses this comma (NaN).
# It matters to whoever computes check-in windows or reminders of bookings: "15 minutes before" is 15 minutes after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts dayjs@1.11.23 luxon@3.7.2 moment@2.30.1
cat > run.js <<'JS'
import dayjs from 'dayjs';
import duration from 'dayjs/plugin/duration.js';
import { Duration } from 'luxon';
import moment from 'moment';
dayjs.extend(duration);
const libraries = {
  dayjs: text => dayjs.duration(text).asMinutes(),
  luxon: text => Duration.fromISO(text).as('minutes'),
  moment: text => moment.duration(text).asMinutes(),
};
console.log(`dayjs writes ${dayjs.duration(-15, 'minutes').toISOString()}`);
for (const text of ['PT15M', '-PT15M', '-P1DT12H', 'PT0.5H', 'PT0,5H']) {
  console.log(`${text}: ${Object.entries(libraries).map(([name, minutes]) => `${minutes(text)} min (${name})`).join(', ')}`);
}
JS
echo "dayjs 1.11.23, luxon 3.7.2, moment 2.30.1"
seen=$(node run.js)
echo "$seen"
expected='dayjs writes -PT15M
PT15M: 15 min (dayjs), 15 min (luxon), 15 min (moment)
-PT15M: 15 min (dayjs), -15 min (luxon), -15 min (moment)
-P1DT12H: 2160 min (dayjs), -2160 min (luxon), -2160 min (moment)
PT0.5H: 30 min (dayjs), 30 min (luxon), 30 min (moment)
PT0,5H: 0 min (dayjs), NaN min (luxon), 30 min (moment)'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
