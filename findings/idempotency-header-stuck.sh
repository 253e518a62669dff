#!/usr/bin/env bash
# A handler that raises once locks its idempotency key for good in asgi-idempotency-header 0.2.0.
#
# Guess: a key is in progress while the handler runs. When the handler raises, the key is free, and the retry runs it.
# Seen: the key is freed only by a response that passes the middleware. An exception becomes a 500 outside of it, so
# every retry is answered 409 and the handler never runs again (memory backend). A handler that returns its 503 as JSON is
# not run again either: the 503 is repeated.
# It matters to whoever puts it in front of a webhook handler, with the event's id as the key: one failure of the
# database loses the event, however often the sender delivers it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check asgi-idempotency-header==0.2.0 fastapi==0.165.0 starlette==1.10.0 httpx==0.28.1 redis==8.1.0
cat > run.py <<'PY'
import asyncio, uuid
import httpx
from idempotency_header_middleware.backends.memory import MemoryBackend
from idempotency_header_middleware.middleware import IdempotencyHeaderMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

runs = 0


async def raises(request):
    global runs
    runs += 1
    if runs == 1:
        raise RuntimeError("the database is down")
    return JSONResponse({"done": True})


async def answers_503(request):
    global runs
    runs += 1
    return JSONResponse({"done": runs > 1}, 503 if runs == 1 else 200)


app = Starlette(
    routes=[Route(f"/{handler.__name__}", handler, methods=["POST"]) for handler in (raises, answers_503)],
    middleware=[Middleware(IdempotencyHeaderMiddleware, backend=MemoryBackend())],
)


async def main():
    global runs
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in "raises", "answers_503":
            runs, headers = 0, {"Idempotency-Key": str(uuid.uuid4())}
            answers = [(await client.post(f"/{path}", headers=headers)).status_code for _ in range(4)]
            print(f"{path}: {answers}, handler ran {runs} time")


asyncio.run(main())
PY
venv/bin/pip list 2>/dev/null | grep -E '^(asgi-idempotency-header|fastapi|starlette) ' | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='raises: [500, 409, 409, 409], handler ran 1 time
answers_503: [503, 503, 503, 503], handler ran 1 time'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
