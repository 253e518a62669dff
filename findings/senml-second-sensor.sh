#!/usr/bin/env bash
# Python's SenML packages give the second sensor of a pack the name of the first, and lose the time of what they read.
#
# Guess: a SenML library resolves the examples of RFC 8428 (section 5.1) to the names, times and values that the RFC gives.
# Seen: senml 0.1.0 takes base fields from the first record alone. In section 5.1.6, one pack with two devices, the temperature
# of 2001:db8::1 becomes one of 2001:db8::2 with a wrong name, and its humidity a second humidity of 2001:db8::2. A base sum
# is dropped. micropython-senml 0.1.1 (of Arduino, runs on CPython too) and kpn-senml 1.0.1 have the second device, but no
# time, unit or sum at all; a record without `n`, which section 5.1.3 has, is a KeyError.
# It matters to whoever reads a gateway that sends several presence sensors in one pack: two desks become one, or all are "now".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# senml and micropython-senml are both imported as senml.
for package in senml==0.1.0 micropython-senml==0.1.1 kpn-senml==1.0.1; do
  python3 -m venv "${package%%=*}"
  "${package%%=*}/bin/pip" install --quiet --disable-pip-version-check "$package" cbor2==5.6.5 attrs==25.4.0
done
cat > data.py <<'PY'
GATEWAY = """[
  {"bn": "2001:db8::2/", "bt": 1320078429, "n": "temperature", "u": "Cel", "v": 25.2},
  {"n": "humidity", "u": "%RH", "v": 30},
  {"bn": "2001:db8::1/", "n": "temperature", "u": "Cel", "v": 12.3},
  {"n": "humidity", "u": "%RH", "v": 67}
]"""
NO_NAMES = """[
  {"bn": "urn:dev:ow:10e2073a01080063", "bt": 1320067464, "bu": "%RH", "v": 20},
  {"u": "lon", "v": 24.30621}, {"t": 60, "v": 20.3}
]"""
SUM = '[{"bn": "2001:db8::2/", "bs": 100, "n": "people", "u": "/", "s": 3}]'
PACKS = {"two devices": GATEWAY, "no names": NO_NAMES, "a sum": SUM}


def show(title, records):
    for name, time, unit, value in records:
        print(f"  {title}: {name} {value} {unit}, time {time if time is None else int(time)}")
PY
cat > document.py <<'PY'
import json
from data import PACKS, show
from senml.senml import SenMLDocument

for title, text in PACKS.items():
    document = SenMLDocument.from_json(json.loads(text))
    records = [measurement.to_absolute(document.base) for measurement in document.measurements]
    show(title, [(r.name, r.time, r.unit, r.value if r.sum is None else f"sum {r.sum}") for r in records])
PY
cat > pack.py <<'PY'
import importlib, sys
from data import PACKS, show

SenmlPack = importlib.import_module(sys.argv[1]).SenmlPack
for title, text in PACKS.items():
    records = []

    def read(record, device):
        records.append(((device.name if device else "") + record.name, record.time, record.unit, record.value))

    pack = SenmlPack("receiver", read)
    try:
        pack.from_json(text)
    except KeyError as error:
        print(f"  {title}: KeyError {error.args[0]}")
    show(title, records)
PY
seen=$(
  echo "senml 0.1.0"; senml/bin/python document.py
  echo "micropython-senml 0.1.1"; micropython-senml/bin/python pack.py senml
  echo "kpn-senml 1.0.1"; kpn-senml/bin/python pack.py kpn_senml
)
echo "$seen"
expected='senml 0.1.0
  two devices: 2001:db8::2/temperature 25.2 Cel, time 1320078429
  two devices: 2001:db8::2/humidity 30.0 %RH, time 1320078429
  two devices: 2001:db8::2/temperature 12.3 Cel, time 1320078429
  two devices: 2001:db8::2/humidity 67.0 %RH, time 1320078429
  no names: urn:dev:ow:10e2073a01080063 20.0 %RH, time 1320067464
  no names: urn:dev:ow:10e2073a01080063 24.30621 lon, time 1320067464
  no names: urn:dev:ow:10e2073a01080063 20.3 %RH, time 1320067524
  a sum: 2001:db8::2/people sum 3 /, time 0
micropython-senml 0.1.1
  two devices: 2001:db8::2/temperature 25.2 None, time None
  two devices: 2001:db8::2/humidity 30 None, time None
  two devices: 2001:db8::1/temperature 12.3 None, time None
  two devices: 2001:db8::1/humidity 67 None, time None
  no names: KeyError n
  a sum: 2001:db8::2/people None None, time None
kpn-senml 1.0.1
  two devices: 2001:db8::2/temperature 25.2 None, time None
  two devices: 2001:db8::2/humidity 30 None, time None
  two devices: 2001:db8::1/temperature 12.3 None, time None
  two devices: 2001:db8::1/humidity 67 None, time None
  no names: KeyError n
  a sum: 2001:db8::2/people None None, time None'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
