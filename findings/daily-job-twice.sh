#!/usr/bin/env bash
# A daily job at 02:30 runs twice in the night when summer time ends (croniter 7.0.0, APScheduler 3.11.3).
#
# Guess: "30 2 * * *" in Europe/Zurich runs once a day, as it does with cron: the hour that occurs twice runs a job with a
# fixed hour once.
# Seen: both libraries run it at 02:30 summer time and an hour later at 02:30 winter time. cronsim 2.8 runs it once.
# An hourly job is right in all three.
# It matters to whoever closes the day's occupancy, or sends a daily report by webhook: once a year it is
# sent twice, with other ids, which no deduplication notices.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8 APScheduler==3.11.3 tzdata==2026.6
cat > run.py <<'PY'
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo
from apscheduler.triggers.cron import CronTrigger
from croniter import croniter
from cronsim import CronSim

ZURICH = ZoneInfo("Europe/Zurich")
START = datetime(2026, 10, 24, 12, tzinfo=timezone.utc).astimezone(ZURICH)


def apscheduler(pattern):
    trigger, last, now = CronTrigger.from_crontab(pattern, timezone=ZURICH), None, START
    while True:
        last = trigger.get_next_fire_time(last, now)
        yield last
        now = (last.astimezone(timezone.utc) + timedelta(milliseconds=5)).astimezone(ZURICH)


for name, times in {
    "croniter": croniter("30 2 * * *", START, ret_type=datetime),
    "APScheduler": apscheduler("30 2 * * *"),
    "cronsim": CronSim("30 2 * * *", START),
}.items():
    print(f"{name}:", ", ".join(format(next(times).astimezone(ZURICH), "%d %H:%M %Z") for _ in range(3)))
PY
venv/bin/pip list 2>/dev/null | grep -iE '^(croniter|cronsim|apscheduler) ' | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='croniter: 25 02:30 CEST, 25 02:30 CET, 26 02:30 CET
APScheduler: 25 02:30 CEST, 25 02:30 CET, 26 02:30 CET
cronsim: 25 02:30 CEST, 26 02:30 CET, 27 02:30 CET'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
