#!/usr/bin/env bash
# When the time of an open circuit breaker is over, circuitbreaker, aiobreaker and purgatory (PyPI) let every caller through.
#
# Guess: a half-open breaker lets one trial call through ("allows one test-execution", says the README of circuitbreaker), and
# opens or closes by how that one ends. A call that began before the breaker opened has no say.
# Seen: until the first trial ends, all calls run: 50 of 50. Also, in circuitbreaker, a slow call that began before the failures
# and ends well closes the open breaker. opossum 10.0.0 and cockatiel 4.0.0 (npm) run one, and stay open.
# It matters to whoever protects a database that comes back slowly: each time the breaker tries it, it gets the full load, all
# calls wait for their time limit, and webhooks are answered too late instead of 503 at once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check circuitbreaker==2.1.3 aiobreaker==1.2.0 purgatory==3.0.1
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts opossum@10.0.0 cockatiel@4.0.0
cat > run.py <<'PY'
import asyncio, datetime

import aiobreaker, circuitbreaker, purgatory


async def run(work):
    return await work()


def with_purgatory(seconds):
    factory = purgatory.AsyncCircuitBreakerFactory(default_threshold=3, default_ttl=seconds)

    async def call(work):
        async with await factory.get_breaker("database"):
            return await work()

    return call


libraries = {
    "circuitbreaker": lambda seconds: circuitbreaker.CircuitBreaker(3, seconds)(run),
    "aiobreaker": lambda seconds: aiobreaker.CircuitBreaker(3, datetime.timedelta(seconds=seconds)).call_async,
    "purgatory": with_purgatory,
}


async def fail():
    raise OSError("the database is down")


async def open_it(call):
    await asyncio.gather(*(call(fail) for _ in range(3)), return_exceptions=True)


async def is_open(call):
    calls = 0

    async def work():
        nonlocal calls
        calls += 1

    await asyncio.gather(call(work), return_exceptions=True)
    return calls == 0


async def main():
    for name, make in libraries.items():
        call = make(1)
        await open_it(call)
        assert await is_open(call)
        await asyncio.sleep(1.5)
        calls = 0

        async def slow_failure():
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.5)
            await fail()

        await asyncio.gather(*(call(slow_failure) for _ in range(50)), return_exceptions=True)

        call, database = make(600), asyncio.Event()
        early = asyncio.create_task(call(database.wait))
        await asyncio.sleep(0)
        await open_it(call)
        assert await is_open(call)
        database.set()
        await early
        print(f"{name}: {calls} of 50 trial calls; after an early call ended well {'open' if await is_open(call) else 'closed'}")


asyncio.run(main())
PY
cat > run.js <<'JS'
import { setTimeout as sleep } from 'node:timers/promises';
import { circuitBreaker, ConsecutiveBreaker, handleAll } from 'cockatiel';
import Opossum from 'opossum';

const libraries = {
  opossum: time => {
    const breaker = new Opossum(work => work(), { timeout: false, volumeThreshold: 3, resetTimeout: time });
    return work => breaker.fire(work);
  },
  cockatiel: time => {
    const breaker = circuitBreaker(handleAll, { halfOpenAfter: time, breaker: new ConsecutiveBreaker(3) });
    return work => breaker.execute(work);
  },
};
const fail = async () => { throw new Error('the database is down'); };
const isOpen = async call => {
  let calls = 0;
  await call(async () => calls++).catch(() => {});
  return calls === 0;
};
for (const [name, make] of Object.entries(libraries)) {
  const open = call => Promise.allSettled([call(fail), call(fail), call(fail)]);
  let call = make(1_000), calls = 0;
  await open(call);
  await sleep(1_500);
  await Promise.allSettled(Array.from({ length: 50 }, () => call(async () => { calls++; await sleep(500); await fail(); })));
  call = make(600_000);
  let answer;
  const early = call(() => new Promise(resolve => (answer = resolve)));
  await open(call);
  answer();
  await early;
  console.log(`${name}: ${calls} of 50 trial calls; after an early call ended well ${await isOpen(call) ? 'open' : 'closed'}`);
}
process.exit();
JS
echo "circuitbreaker 2.1.3, aiobreaker 1.2.0, purgatory 3.0.1; opossum 10.0.0, cockatiel 4.0.0"
seen=$(venv/bin/python run.py; node run.js)
echo "$seen"
expected='circuitbreaker: 50 of 50 trial calls; after an early call ended well closed
aiobreaker: 50 of 50 trial calls; after an early call ended well open
purgatory: 50 of 50 trial calls; after an early call ended well open
opossum: 1 of 50 trial calls; after an early call ended well open
cockatiel: 1 of 50 trial calls; after an early call ended well open'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
