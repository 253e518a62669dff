#!/usr/bin/env bash
# A key in aiocache's SimpleMemoryCache (0.12.3) lives too short after `clear`, and for ever when event loops change.
#
# Guess: a key lives as long as the `ttl` of its last `set`.
# Seen: each `ttl` is a timer of the event loop. `clear` forgets the timers without a cancel, so the old one deletes the
# new key. And a timer dies with its loop: after `asyncio.run` the key never expires, and `add` refuses it for good.
# It matters to whoever deduplicates by `add(id, 1, ttl=…)`: after a `clear` a redelivery runs twice; where each
# request has its own `asyncio.run`, as in many AWS Lambda handlers, a claim whose holder died is never free again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiocache==0.12.3
cat > run.py <<'PY'
import asyncio, time
from aiocache import SimpleMemoryCache


async def add(cache, ttl):
    try:
        return await cache.add("id", 1, ttl=ttl)
    except ValueError as error:
        return error


async def one_loop(clear):
    cache = SimpleMemoryCache()
    await cache.set("id", 1, ttl=1)
    if clear:
        await cache.clear()
    await cache.set("id", 1, ttl=60)
    await asyncio.sleep(1.5)
    return await cache.exists("id")


async def later(cache):
    await asyncio.sleep(1.5)
    return await cache.exists("id"), await add(cache, 1)


async def same_loop(cache):
    await add(cache, 1)
    return await later(cache)


print("ttl 60, after 1.5 s:", asyncio.run(one_loop(clear=False)))
print("ttl 60 after a clear, after 1.5 s:", asyncio.run(one_loop(clear=True)))
print("ttl 1, after 1.5 s, one loop: exists %s, add %s" % asyncio.run(same_loop(SimpleMemoryCache())))
cache = SimpleMemoryCache()
asyncio.run(add(cache, 1))
time.sleep(1)
print("ttl 1, after 2.5 s, two loops: exists %s, add: %s" % asyncio.run(later(cache)))
PY
venv/bin/pip list 2>/dev/null | grep aiocache | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='ttl 60, after 1.5 s: True
ttl 60 after a clear, after 1.5 s: False
ttl 1, after 1.5 s, one loop: exists False, add True
ttl 1, after 2.5 s, two loops: exists True, add: Key id already exists, use .set to update the value'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
