#!/usr/bin/env bash
# O365 2.1.10, windows-iana 5.1.0 and exchangelib 5.6.0 give rooms a Windows time zone with another local time.
#
# Guess: the Windows name that a library gives to an IANA zone, as Microsoft Graph and Exchange want it, has the same time.
# Seen: each has an old copy of CLDR's windowsZones beside newer data for the zones themselves. A booking that is sent to Graph
# as 10:00 with such a name is at another hour, without an error: in Juba and Whitehorse (O365), Almaty and Ojinaga (O365,
# windows-iana), Vancouver and Winnipeg (all three). Three zones have no name in O365 and windows-iana. CLDR's newer list in
# tzlocal 5.4.5 is right for each.
# It matters to whoever writes bookings to room mailboxes: rooms look empty when they are used.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts windows-iana@5.1.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check O365==2.1.10 exchangelib==5.6.0 tzlocal==5.4.5 tzdata==2026.6
cat > run.js <<'JS'
import { findWindows } from 'windows-iana';
console.log(JSON.stringify(process.argv.slice(2).map(zone => findWindows(zone)[0] ?? null)));
JS
cat > run.py <<'PY'
import json, subprocess
from datetime import datetime
from zoneinfo import ZoneInfo

from exchangelib import EWSTimeZone
from O365.utils.windows_tz import get_windows_tz
from tzlocal.windows_tz import tz_win, win_tz

ZONES = """Europe/Zurich Africa/Juba America/Whitehorse America/Ojinaga America/Vancouver America/Winnipeg Asia/Almaty
America/Ciudad_Juarez America/Coyhaique Pacific/Kanton""".split()
node = subprocess.run(["node", "run.js", *ZONES], capture_output=True, text=True, check=True).stdout


def or_none(lookup, zone):
    try:
        return lookup(zone)
    except Exception:
        return None


LIBRARIES = {
    "O365": {zone: or_none(get_windows_tz, ZoneInfo(zone)) for zone in ZONES},
    "windows-iana": dict(zip(ZONES, json.loads(node))),
    "exchangelib": {zone: or_none(lambda zone: EWSTimeZone(zone).ms_id, zone) for zone in ZONES},
    "tzlocal": {zone: tz_win.get(zone) for zone in ZONES},
}


def hours(zone, month):
    return datetime(2027, month, 15, 10, tzinfo=ZoneInfo(zone)).utcoffset().total_seconds() / 3600


for zone in ZONES:
    seen = []
    for library, names in LIBRARIES.items():
        if names[zone] is None:
            seen.append(f"{library} none")
            continue
        january, july = (hours(zone, month) - hours(win_tz[names[zone]], month) for month in (1, 7))
        seen.append(f"{library} {january:+g} {july:+g}" if january or july else f"{library} right")
    print(f"{zone}: {', '.join(seen)}")
PY
echo "O365 2.1.10, windows-iana 5.1.0, exchangelib 5.6.0, tzlocal 5.4.5, tzdata 2026.6; hours off in January and July 2027"
seen=$(PYTHONTZPATH="" venv/bin/python run.py)
echo "$seen"
expected='Europe/Zurich: O365 right, windows-iana right, exchangelib right, tzlocal right
Africa/Juba: O365 -1 -1, windows-iana right, exchangelib right, tzlocal right
America/Whitehorse: O365 +1 +0, windows-iana right, exchangelib right, tzlocal right
America/Ojinaga: O365 +1 +1, windows-iana +1 +1, exchangelib right, tzlocal right
America/Vancouver: O365 +1 +0, windows-iana +1 +0, exchangelib +1 +0, tzlocal right
America/Winnipeg: O365 +1 +0, windows-iana +1 +0, exchangelib +1 +0, tzlocal right
Asia/Almaty: O365 -1 -1, windows-iana -1 -1, exchangelib right, tzlocal right
America/Ciudad_Juarez: O365 none, windows-iana none, exchangelib right, tzlocal right
America/Coyhaique: O365 none, windows-iana none, exchangelib right, tzlocal right
Pacific/Kanton: O365 none, windows-iana none, exchangelib right, tzlocal right'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
