#!/usr/bin/env bash
# With `commit_on_exit` fastapi-async-sqlalchemy 0.7.1.post3 commits what a handler wrote before it raised `HTTPException(503)`.
#
# Guess: a session that is committed at the end of a request is rolled back when the handler raises, whatever it raises.
# Seen: FastAPI makes an answer of an `HTTPException` before the middleware hears of it, so that it sees a request that went
# well, and commits. Other exceptions are rolled back.
# It matters to whoever writes the id of an event, then the event, and answers 503 when something is missing: the id stays, the
# redelivery is a duplicate, and the event is never handled. Its half stays too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastapi-async-sqlalchemy==0.7.1.post3 \
  "sqlalchemy[asyncio]==2.1.9" fastapi==0.165.0 starlette==1.10.0 aiosqlite==0.22.1 httpx==0.28.1
cat > run.py <<'PY'
import asyncio

import fastapi, httpx
from fastapi_async_sqlalchemy import SQLAlchemyMiddleware, db
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

URL = "sqlite+aiosqlite:///events.db"
app = fastapi.FastAPI()
app.add_middleware(SQLAlchemyMiddleware, db_url=URL, commit_on_exit=True)
outcomes = {"raises OSError": OSError(), "raises HTTPException(503)": fastapi.HTTPException(503), "returns": None}


@app.post("/{id}")
async def receive(id: str):
    new = await db.session.execute(text("INSERT OR IGNORE INTO seen VALUES (:id)"), {"id": id})
    if new.rowcount == 0:
        return "duplicate"
    if outcomes[id]:
        raise outcomes[id]
    return "handled"


async def main():
    async with create_async_engine(URL).begin() as connection:
        await connection.execute(text("CREATE TABLE seen (id TEXT PRIMARY KEY)"))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        for id in outcomes:
            first, second = await client.post(f"/{id}"), await client.post(f"/{id}")
            print(f"{id}: {first.status_code}, then {second.status_code} {second.text if second.is_success else ''}".rstrip())


asyncio.run(main())
PY
echo "fastapi-async-sqlalchemy 0.7.1.post3, FastAPI 0.165.0, SQLAlchemy 2.1.9"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='raises OSError: 500, then 500
raises HTTPException(503): 503, then 200 "duplicate"
returns: 200, then 200 "duplicate"'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
