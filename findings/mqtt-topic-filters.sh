#!/usr/bin/env bash
# Libraries that match MQTT topics with filters disagree with the examples of the MQTT 5 standard.
#
# Guess: a matcher says what a broker would do in the cases that section 4.7 of MQTT 5 spells out: `+` matches an
# empty level, and a filter that starts with a wildcard does not match a topic that starts with `$`.
# Seen: mqtt-pattern 2.1.1 does neither. mqtt-match 3.0.0, mqtt-wildcard 3.0.9 and aiomqtt 2.5.1 let `#` match
# `$SYS/…`. paho-mqtt 2.2.0 is right. No library reports anything.
# It matters to whoever fans presence out by topic: a handler for `#` is also given the broker's own statistics,
# and a room without a floor, `site//room`, is dropped on the way.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts mqtt-pattern@2.1.1 mqtt-match@3.0.0 mqtt-wildcard@3.0.9
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiomqtt==2.5.1 paho-mqtt==2.2.0
cat > run.js <<'JS'
import * as pattern from 'mqtt-pattern';
import match from 'mqtt-match';
import wildcard from 'mqtt-wildcard';
const matchers = {
  'mqtt-pattern': pattern.matches ?? pattern.default.matches,
  'mqtt-match': match,
  'mqtt-wildcard': (filter, topic) => wildcard(topic, filter) !== null,
};
for (const [name, matches] of Object.entries(matchers)) {
  console.log(`${name}: ${JSON.parse(process.argv[2]).map(([filter, topic]) => matches(filter, topic)).join(', ')}`);
}
JS
cat > run.py <<'PY'
import json, subprocess
from aiomqtt import Topic
from paho.mqtt.client import topic_matches_sub

CASES = [("#", "$SYS/load"), ("+/load", "$SYS/load"), ("+/+", "/finance"), ("sport/+", "sport/"), ("sport/#", "sport")]
print("cases:", ", ".join(f"{filter} {topic}" for filter, topic in CASES))
print("standard: false, false, true, true, true")
for name, matches in {"paho": topic_matches_sub, "aiomqtt": lambda filter, topic: Topic(topic).matches(filter)}.items():
    print(f"{name}:", ", ".join(str(matches(*case)).lower() for case in CASES))
print(subprocess.run(["node", "run.js", json.dumps(CASES)], capture_output=True, text=True, check=True).stdout, end="")
PY
echo "mqtt-pattern 2.1.1, mqtt-match 3.0.0, mqtt-wildcard 3.0.9, aiomqtt 2.5.1, paho-mqtt 2.2.0"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='cases: # $SYS/load, +/load $SYS/load, +/+ /finance, sport/+ sport/, sport/# sport
standard: false, false, true, true, true
paho: false, false, true, true, true
aiomqtt: true, true, true, true, true
mqtt-pattern: true, true, false, false, true
mqtt-match: true, true, true, true, true
mqtt-wildcard: true, true, true, true, true'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
