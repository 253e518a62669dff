#!/usr/bin/env bash
# `add` of Django's file-based cache (5.2.19) answers True to two callers at once.
#
# Guess: `cache.add(key, …)` returns True to one caller only, as with the other caches of Django. The documentation says
# that it stores a key only if there is none, and returns True if it did, without a difference between the backends.
# Seen: the file-based cache looks for the key, then writes it, with nothing in between to keep another caller out. Six
# threads that add the same ids find some ids new twice. LocMemCache and DatabaseCache answer True once for each id.
# It matters to whoever deduplicates with `if cache.add(event_id, 1, timeout)`: a redelivery while the first one arrives is
# handled twice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check django==5.2.19
cat > run.py <<'PY'
import os, sys, threading
import django
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection

backends = "django.core.cache.backends."
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.abspath("database"), "OPTIONS": {"timeout": 30}}},
    CACHES={
        "default": {"BACKEND": backends + "locmem.LocMemCache"},
        "database": {"BACKEND": backends + "db.DatabaseCache", "LOCATION": "cache"},
        "file": {"BACKEND": backends + "filebased.FileBasedCache", "LOCATION": os.path.abspath("files")},
    },
)
django.setup()
call_command("createcachetable", verbosity=0)
sys.setswitchinterval(1e-5)  # threads change often, as processes do


def callers_told_true(name, key):
    barrier, answers = threading.Barrier(6), []

    def add():
        cache = caches[name]
        barrier.wait()
        answers.append(cache.add(key, 1, 60))
        connection.close()

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answers)


for name, tries in ("default", 50), ("database", 50), ("file", 1000):
    most = 0
    for number in range(tries):
        most = max(most, callers_told_true(name, f"event-{number}"))
        if most > 1:
            break
    print(f"{settings.CACHES[name]['BACKEND'].rpartition('.')[2]}: an id is new to {'one caller' if most == 1 else 'more than one caller'}")
PY
venv/bin/pip list 2>/dev/null | grep -i '^django ' | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='LocMemCache: an id is new to one caller
DatabaseCache: an id is new to one caller
FileBasedCache: an id is new to more than one caller'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
