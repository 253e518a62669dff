#!/usr/bin/env bash
# niquests 3.21.2 sends other bytes for `json=` once orjson is installed.
#
# Guess: `json=` writes the body like `json.dumps`, as in requests, whatever else is installed.
# Seen: with orjson in the environment the body has no spaces, raw UTF-8 instead of escapes, and other
# exponents. No setting or argument changed, and the content type is the same.
# It matters to whoever signs `json.dumps(event)` and sends `json=event`: the signatures are right until
# somebody adds a package that brings orjson, and every receiver then rejects every delivery.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check niquests==3.21.2
cat > run.py <<'PY'
import hashlib, hmac, json
import niquests

event = {"room": "Büro", "seconds": 1e-7}
body = niquests.Request("POST", "https://receiver.example/", json=event).prepare().body
signed = json.dumps(event).encode()
mac = lambda text: hmac.digest(b"secret", text, hashlib.sha512)
print(body.decode(), "- signature", "right" if hmac.compare_digest(mac(body), mac(signed)) else "wrong")
PY
before=$(venv/bin/python run.py)
venv/bin/pip install --quiet --disable-pip-version-check orjson==3.13.0
venv/bin/pip list 2>/dev/null | grep -E '^(niquests|orjson) ' | tr -s ' \n' '  '
echo
seen=$(echo "without orjson: $before" && echo "with orjson: $(venv/bin/python run.py)")
echo "$seen"
expected='without orjson: {"room": "B\u00fcro", "seconds": 1e-07} - signature right
with orjson: {"room":"Büro","seconds":1e-7} - signature wrong'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
