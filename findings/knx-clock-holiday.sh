#!/usr/bin/env bash
# knx 2.5.4 and knxultimate 5.4.0 (npm) tell a KNX bus that a Thursday in May is a day off in winter time.
#
# Guess: libraries for KNX, the bus of room controllers and presence detectors, write and read a value as the KNX standard
# (3/7/2, Datapoint Types) has its type.
# Seen: a date and time (DPT 19.001) has flags for working day and summer time. Both packages write all flags as zero, which
# says that the day is known not to be a working day, and that the time is standard time. They read the time of a clock whose
# fault flag is set, as after a power cut, like any other. Text (DPT 16.000) keeps the NULs that fill its 14 octets: "Room 2" is
# not "Room 2". A float of 2 octets (DPT 9.001) is cut: -5.1 comes back as -5.09. xknx 4.0.0 is right.
# It matters to whoever sends the clock to a building, whose room programs follow working days, or compares names of rooms.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts knx@2.5.4 knxultimate@5.4.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check xknx==4.0.0
cat > run.js <<'JS'
const { execFileSync } = require('node:child_process');
const libraries = { knx: require('knx/src/dptlib'), knxultimate: require('knxultimate').dptlib };
for (const [name, library] of Object.entries(libraries)) {
  const write = (id, value) => {
    const apdu = {};
    library.populateAPDU(value, apdu, id);
    return apdu.data;
  };
  const read = (id, octets) => library.fromBuffer(octets, library.resolve(id));
  const clock = write('DPT19.001', new Date(2026, 4, 21, 10, 20, 30)).toString('hex');
  console.log(`${name}: ${clock}, ${execFileSync('venv/bin/python', ['run.py', clock]).toString().trim()}`);
  console.log(`${name}: with fault ${read('DPT19.001', Buffer.from('7e01010000008000', 'hex')).toISOString()}`);
  console.log(`${name}: ${JSON.stringify(read('DPT16.000', Buffer.from('Room 2'.padEnd(14, '\0'))))}`);
  let wrong = 0;
  for (let cents = -2047; cents <= 2047; cents++) {
    if (Math.round(read('DPT9.001', write('DPT9.001', cents / 100)) * 100) !== cents) wrong++;
  }
  console.log(`${name}: -5.1 is ${read('DPT9.001', write('DPT9.001', -5.1))}; ${wrong} of 4095 temperatures differ`);
}
process.exit();
JS
cat > run.py <<'PY'
import json, sys
from xknx.dpt import DPT2ByteFloat, DPTArray, DPTDateTime, DPTLatin1
from xknx.dpt.dpt_19 import KNXDateTime


def show(time):
    return f"working day {time.working_day}, summer time {time.dst}"


if len(sys.argv) > 1:
    print(show(DPTDateTime.from_knx(DPTArray(tuple(bytes.fromhex(sys.argv[1]))))))
else:
    told = KNXDateTime(year=2026, month=5, day=21, hour=10, minutes=20, seconds=30, dst=True)
    print("xknx:", show(DPTDateTime.from_knx(DPTDateTime.to_knx(told))))
    print("xknx: with fault", DPTDateTime.from_knx(DPTArray(tuple(bytes.fromhex("7e01010000008000")))).fault)
    print("xknx:", json.dumps(DPTLatin1.from_knx(DPTArray(tuple(b"Room 2".ljust(14, b"\0"))))))
    back = {cents: DPT2ByteFloat.from_knx(DPT2ByteFloat.to_knx(cents / 100)) for cents in range(-2047, 2048)}
    wrong = sum(round(value * 100) != cents for cents, value in back.items())
    print(f"xknx: -5.1 is {back[-510]}; {wrong} of 4095 temperatures differ")
PY
echo "knx 2.5.4, knxultimate 5.4.0, xknx 4.0.0; clocks are Thursday, 2026-05-21 10:20:30 in Zurich"
seen=$(TZ=Europe/Zurich node run.js; venv/bin/python run.py)
echo "$seen"
expected='knx: 7e05158a141e0000, working day False, summer time False
knx: with fault 2025-12-31T23:00:00.000Z
knx: "Room 2\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000"
knx: -5.1 is -5.09; 289 of 4095 temperatures differ
knxultimate: 7e05158a141e0000, working day False, summer time False
knxultimate: with fault 2025-12-31T23:00:00.000Z
knxultimate: "Room 2\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0000"
knxultimate: -5.1 is -5.09; 289 of 4095 temperatures differ
xknx: working day None, summer time True
xknx: with fault True
xknx: "Room 2"
xknx: -5.1 is -5.1; 0 of 4095 temperatures differ'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
