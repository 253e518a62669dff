#!/usr/bin/env bash
# OpenTelemetry's baggage is other text in JavaScript than in Python 1.45.2.
#
# Guess: SDKs of one project that implement W3C Baggage, whose values are percent-encoded, read each other's values.
# Seen: Python encodes and decodes like a form: a space leaves as "+", which JavaScript reads as a plus, and a plus
# that the standard allows as it is arrives in Python as a space. Python also takes the properties after ";" for
# text of the value. Neither reports an error. @opentelemetry/core 2.12.1 follows the standard.
# It matters to whoever passes the room or tenant of a webhook on as baggage and uses it as a label or a filter: the
# services of one trace count two rooms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @opentelemetry/core@2.12.1 @opentelemetry/api@1.9.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opentelemetry-api==1.45.2
cat > run.js <<'JS'
import { W3CBaggagePropagator } from '@opentelemetry/core';
import { propagation, ROOT_CONTEXT, defaultTextMapGetter } from '@opentelemetry/api';
const baggage = process.argv[2];
const context = new W3CBaggagePropagator().extract(ROOT_CONTEXT, { baggage }, defaultTextMapGetter);
console.log('read by JavaScript:', propagation.getBaggage(context).getAllEntries().map(([key, { value }]) => `${key}=${value}`).join(' | '));
JS
cat > run.py <<'PY'
import subprocess
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator

carrier = {}
W3CBaggagePropagator().inject(carrier, baggage.set_baggage("room", "Room 2"))
for source, header in {"Python": carrier["baggage"], "the standard": "zone=A+B,room=Room%202;floor=1"}.items():
    print(f"written by {source}: {header}")
    seen = baggage.get_all(W3CBaggagePropagator().extract({"baggage": header}))
    print("read by Python:", " | ".join(f"{key}={value}" for key, value in seen.items()))
    print(subprocess.run(["node", "run.js", header], capture_output=True, text=True, check=True).stdout, end="")
PY
echo "opentelemetry-api 1.45.2 (Python), @opentelemetry/core 2.12.1 (JavaScript)"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='written by Python: room=Room+2
read by Python: room=Room 2
read by JavaScript: room=Room+2
written by the standard: zone=A+B,room=Room%202;floor=1
read by Python: zone=A B | room=Room 2;floor=1
read by JavaScript: zone=A+B | room=Room 2'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
