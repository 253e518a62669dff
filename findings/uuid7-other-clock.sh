#!/usr/bin/env bash
# An id that the package uuid7 0.1.0 (PyPI) makes in 2024 is of the year 2192 for readers of RFC 9562.
#
# Guess: a UUID of version 7 begins with the milliseconds since 1970, in 48 bits, as RFC 9562 says.
# Seen: the package follows a draft that was given up: 36 bits of seconds, then fractions. The version says 7 and the
# ids of one package sort well, so nothing reports it. Read as RFC 9562 the time is 168 years late, and
# each such id sorts after all ids of uuid6 2025.0.1, whatever their times.
# It matters to whoever takes the time of an event from its id, pages through an inbox by id, or has two producers:
# the poller that goes on from the greatest id never sees the others' events.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uuid7==0.1.0 uuid6==2025.0.1
cat > run.py <<'PY'
import datetime, time
import uuid6, uuid_extensions

FIRST = 1716279752_452000900  # 2024-05-21T08:22:32.4520009Z in nanoseconds
draft = uuid_extensions.uuid7(FIRST)
time.time_ns = lambda: FIRST + 3600 * 10**9
rfc = uuid6.uuid7()  # an hour later
for name, uuid in {"uuid7": draft, "uuid6.uuid7": rfc}.items():
    moment = datetime.datetime.fromtimestamp((uuid.int >> 80) / 1000, datetime.timezone.utc)
    print(f"{name}: version {uuid.version}, {str(uuid)[:13]}…, {moment:%Y-%m-%d}")
print(f"the id of 08:22 sorts after the one of 09:22: {draft.int > rfc.int}")
PY
venv/bin/pip list 2>/dev/null | grep -E '^uuid' | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='uuid7: version 7, 0664c59c-873b…, 2192-10-07
uuid6.uuid7: version 7, 018f9a75-a584…, 2024-05-21
the id of 08:22 sorts after the one of 09:22: True'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
