#!/usr/bin/env bash
# A request that a timeout ended keeps its key for a day in fastapi-idempotency-key 0.1.1, and half a minute in fastidempotent.
#
# Guess: a handler that is cut off by a timeout frees its idempotency key, as one that raises does: "the lock is
# automatically released so the client can safely retry", says the first.
# Seen: a timeout in a middleware around it cancels the task, and both release the key in `except Exception`, which
# CancelledError is not. Each retry is answered 409, as if the first request still ran, until the lock ends: 86 400 s by
# default (fastidempotent 0.1.0: 30 s). fastapi-idempotency 0.1.1 runs the handler again.
# It matters to whoever deduplicates webhooks with such a middleware under a deadline: the slow delivery is refused for
# longer than its sender tries, and is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastapi-idempotency==0.1.1 fastapi-idempotency-key==0.1.1 fastidempotent==0.1.0 starlette==1.10.0 httpx==0.28.1
cat > run.py <<'PY'
import asyncio, uuid
import fastapi_idempotency, fastapi_idempotency_key, fastidempotent, httpx
from fastidempotent.backends import MemoryBackend
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

runs = 0


async def handler(request):
    global runs
    runs += 1
    if failure == "raises" and runs == 1:
        raise RuntimeError("the database is down")
    if failure == "times out" and runs == 1:
        await asyncio.sleep(3600)
    return JSONResponse({"done": True})


class Deadline:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        try:
            async with asyncio.timeout(1):
                await self.app(scope, receive, send)
        except TimeoutError:
            await JSONResponse({"error": "too slow"}, 504)(scope, receive, send)


async def run(middleware):
    app = Starlette(routes=[Route("/", handler, methods=["POST"])], middleware=[Middleware(Deadline), middleware])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return [(await client.post("/", json={}, headers=headers)).status_code for _ in range(3)]


for failure in "raises", "times out":
    for name, middleware in {
        "fastapi-idempotency-key": Middleware(fastapi_idempotency_key.IdempotencyMiddleware, backend=fastapi_idempotency_key.MemoryBackend()),
        "fastidempotent": Middleware(fastidempotent.IdempotencyMiddleware, backend=MemoryBackend()),
        "fastapi-idempotency": Middleware(fastapi_idempotency.IdempotencyMiddleware),
    }.items():
        runs = 0
        print(f"{failure}, {name}: {asyncio.run(run(middleware))}, handler ran {runs} times")
PY
venv/bin/pip list 2>/dev/null | grep -E '^fast(api-)?idempoten' | tr -s ' ' | paste -sd,
seen=$(venv/bin/python run.py 2>/dev/null)
echo "$seen"
expected='raises, fastapi-idempotency-key: [500, 200, 200], handler ran 2 times
raises, fastidempotent: [500, 200, 200], handler ran 2 times
raises, fastapi-idempotency: [500, 200, 200], handler ran 2 times
times out, fastapi-idempotency-key: [504, 409, 409], handler ran 1 times
times out, fastidempotent: [504, 409, 409], handler ran 1 times
times out, fastapi-idempotency: [504, 200, 200], handler ran 2 times'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
