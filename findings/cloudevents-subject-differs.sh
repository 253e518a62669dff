#!/usr/bin/env bash
# A `subject` with a space arrives changed between the CloudEvents SDKs for Python 2.2.0 and JavaScript 10.0.0.
#
# Guess: in binary mode both SDKs percent-encode header values as the HTTP binding (3.1.3.2) requires, so
# an attribute that one of them writes is what the other reads.
# Seen: Python encodes and decodes; JavaScript does neither. "Room 2" from Python is "Room%202" in
# JavaScript; "50%20" (a valid subject) from JavaScript is "50 " in Python. No error on either side.
# It matters to whoever uses a subject or a source with a room's name as a key: one room has two keys,
# depending on who sent the event.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts cloudevents@10.0.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cloudevents==2.2.0 python-dateutil==2.9.0.post0
cat > run.cjs <<'JS'
const { CloudEvent, HTTP } = require('cloudevents');
const input = JSON.parse(require('fs').readFileSync(0));
if (input.headers) console.log(HTTP.toEvent(input).subject);
else console.log(JSON.stringify(HTTP.binary(new CloudEvent({ source: '/rooms', type: 'presence', data: {}, ...input }))));
JS
cat > run.py <<'PY'
import json, subprocess
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, to_binary_event
from cloudevents.core.v1.event import CloudEvent


def javascript(value):
    return subprocess.run(["node", "run.cjs"], input=json.dumps(value), capture_output=True, text=True, check=True).stdout


event = CloudEvent({"id": "1", "source": "/rooms", "type": "presence", "specversion": "1.0", "subject": "Room 2"}, {})
sent = to_binary_event(event)
read = javascript({"headers": dict(sent.headers), "body": sent.body.decode()})[:-1]
answer = json.loads(javascript({"subject": "50%20"}))
back = from_binary_event(HTTPMessage(answer["headers"], answer["body"].encode())).get_attributes()["subject"]
print(f"Python to JavaScript: {'Room 2'!r} -> {read!r}; JavaScript to Python: {'50%20'!r} -> {back!r}")
PY
echo "cloudevents $(node -p 'require("cloudevents/package.json").version') (npm), $(venv/bin/pip list 2>/dev/null | grep cloudevents)"
seen=$(venv/bin/python run.py)
echo "$seen"
expected="Python to JavaScript: 'Room 2' -> 'Room%202'; JavaScript to Python: '50%20' -> '50 '"
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
