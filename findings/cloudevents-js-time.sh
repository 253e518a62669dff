#!/usr/bin/env bash
# The CloudEvents SDK for JavaScript 10.0.0 rewrites `time`, and replaces a leap second by the time of reading.
#
# Guess: `HTTP.toEvent` followed by `HTTP.structured` keeps an event's `time`, or refuses it. CloudEvents
# 1.0 says "RFC 3339", which permits any number of fractional digits and the second 60 (5.6, 5.7).
# Seen: digits after the third are cut and the offset is lost. The valid leap second of 2016 comes out as
# the moment at which the event was read, without an error, and strict validation passes.
# It matters to whoever forwards events, and orders or deduplicates them by their time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0
cat > run.cjs <<'JS'
const { HTTP } = require('cloudevents');
const start = Date.now();
const forward = (time) => {
  const event = { specversion: '1.0', id: '1', source: '/rooms', type: 'presence', time, data: {} };
  const headers = { 'content-type': 'application/cloudevents+json' };
  const read = HTTP.toEvent({ headers, body: JSON.stringify(event) });
  read.validate();
  const { time: out } = JSON.parse(HTTP.structured(read).body);
  return `${time} -> ${Date.parse(out) >= start ? 'the time of reading' : out}`;
};
console.log(['2024-05-21T10:22:32.4520009+02:00', '2016-12-31T23:59:60Z'].map(forward).join('; '));
JS
echo "cloudevents $(node -p 'require("cloudevents/package.json").version'), Node $(node --version)"
seen=$(node run.cjs)
echo "$seen"
expected='2024-05-21T10:22:32.4520009+02:00 -> 2024-05-21T08:22:32.452Z; 2016-12-31T23:59:60Z -> the time of reading'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
