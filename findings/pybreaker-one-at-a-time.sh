#!/usr/bin/env bash
# A circuit breaker of pybreaker 1.4.1 runs one call at a time; a call that waits makes all others wait, open or not.
#
# Guess: threads that share a breaker, which is "thread-safe", call the database beside each other, and while it is open they
# are refused at once.
# Seen: `call` holds a lock while the function runs. Eight calls of 0.5 s take 4 s, not 0.5 s, and during one slow call nobody
# learns whether the breaker is open. circuitbreaker 2.1.3 runs them beside each other.
# It matters to whoever wraps the calls of a webhook receiver in one breaker against a slow database: with it the receiver
# handles one event at a time, and one call without a time limit stops all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pybreaker==1.4.1 circuitbreaker==2.1.3
cat > run.py <<'PY'
import concurrent.futures, threading, time

import circuitbreaker, pybreaker


class Calls:
    def __init__(self):
        self.lock, self.running, self.most = threading.Lock(), 0, 0

    def __call__(self):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        time.sleep(0.5)
        with self.lock:
            self.running -= 1


for name, breaker in ("pybreaker", pybreaker.CircuitBreaker()), ("circuitbreaker", circuitbreaker.CircuitBreaker()):
    calls = Calls()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for future in [threads.submit(breaker.call, calls) for _ in range(8)]:
            future.result()
    print(f"{name}: {calls.most if calls.most == 1 else 'several'} of 8 calls at once")
PY
echo "pybreaker 1.4.1, circuitbreaker 2.1.3"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='pybreaker: 1 of 8 calls at once
circuitbreaker: several of 8 calls at once'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
