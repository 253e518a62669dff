#!/usr/bin/env bash
# traces 0.7.0 and DateTimeRange 2.3.2 (PyPI) count 8 hours of presence for 9, and traces overwrites an arrival.
#
# Guess: a library for series of events, or ranges of times, that takes aware times counts the hours that passed: a desk that is
# occupied from 22:00 to 06:00 in Zurich is so for 9 hours when summer time ends, and for 7 when it begins.
# Seen: 8 in both nights. Both subtract and compare the local times, which Python does for two times in one zone. In traces an
# arrival at 02:10 and the departure an hour later, at 02:10 again, are one entry: the desk was never occupied. staircase 2.8.0
# is right, and with times in UTC all are.
# It matters to whoever turns presence events into hours and rates of use, and keeps the zone of the building.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check traces==0.7.0 DateTimeRange==2.3.2 staircase==2.8.0 tzdata==2026.6
cat > run.py <<'PY'
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pandas, staircase, traces
from datetimerange import DateTimeRange

ZURICH = ZoneInfo("Europe/Zurich")


def with_traces(*times):
    start, end = times
    series = traces.TimeSeries({start: 1, end: 0})
    occupied = sum((end - start).total_seconds() for start, end, value in series.iterperiods(start, end) if value)
    return occupied / 3600


def with_datetimerange(*times):
    return DateTimeRange(*times).get_timedelta_second() / 3600


def with_staircase(*times):
    start, end = map(pandas.Timestamp, times)
    return staircase.Stairs(start=[start], end=[end]).integral().total_seconds() / 3600


NIGHTS = {
    "October": [(2026, 10, 24, 22), (2026, 10, 25, 6)],
    "March": [(2026, 3, 28, 22), (2026, 3, 29, 6)],
}
for name, count in {"traces": with_traces, "DateTimeRange": with_datetimerange, "staircase": with_staircase}.items():
    for night, times in NIGHTS.items():
        local = [datetime(*time, tzinfo=ZURICH) for time in times]
        utc = [time.astimezone(timezone.utc) for time in local]
        print(f"{name}, {night}: {count(*local):g} hours, {count(*utc):g} in UTC")
arrival, departure = (datetime(2026, 10, 25, 2, 10, tzinfo=ZURICH, fold=fold) for fold in (0, 1))
for zone in ZURICH, timezone.utc:
    series = traces.TimeSeries()
    series[arrival.astimezone(zone)] = 1
    series[departure.astimezone(zone)] = 0
    print(f"traces, an hour in the night, {zone}: {len(series)} entries, {[value for _, value in series.items()]}")
PY
echo "traces 0.7.0, DateTimeRange 2.3.2, staircase 2.8.0"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='traces, October: 8 hours, 9 in UTC
traces, March: 8 hours, 7 in UTC
DateTimeRange, October: 8 hours, 9 in UTC
DateTimeRange, March: 8 hours, 7 in UTC
staircase, October: 9 hours, 9 in UTC
staircase, March: 7 hours, 7 in UTC
traces, an hour in the night, Europe/Zurich: 1 entries, [0]
traces, an hour in the night, UTC: 2 entries, [1, 0]'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
