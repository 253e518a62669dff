#!/usr/bin/env bash
# With `commit_mode="autocommit"` advanced-alchemy 1.12.0 answers 200 before it commits, and says nothing if that fails.
#
# Guess: a handler whose session is committed for it is answered 2xx once the commit is through; a commit that fails is a 500.
# Seen: with FastAPI and Starlette the answer is sent first. When the commit fails (a deferred constraint here), the client has
# its 200, there is no row, and the error is logged at DEBUG only. With `await session.commit()` in the handler it is a 500.
# It matters to whoever stores webhooks through it: 200 tells the sender to forget the event, and nobody notices that it is gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check advanced-alchemy==1.12.0 sqlalchemy==2.1.9 \
  fastapi==0.165.0 starlette==1.10.0 aiosqlite==0.22.1 httpx==0.28.1 uvicorn==0.54.0
cat > run.py <<'PY'
import asyncio, logging, typing

import fastapi, httpx, uvicorn
from advanced_alchemy.extensions import fastapi as for_fastapi, starlette as for_starlette
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route



class Errors(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record):
        self.count += 1


errors = Errors()
logging.basicConfig(level=logging.INFO, handlers=[errors])
SCHEMA = """
CREATE TABLE room (id TEXT PRIMARY KEY);
CREATE TABLE event (id TEXT PRIMARY KEY, room TEXT REFERENCES room DEFERRABLE INITIALLY DEFERRED);
INSERT INTO room VALUES ('known')
"""


async def store(session, room):
    await session.execute(text("PRAGMA foreign_keys = ON"))
    await session.execute(text("INSERT INTO event VALUES (:id, :room)"), {"id": f"in {room} room", "room": room})


def with_fastapi(url, commit_mode="autocommit"):
    app = fastapi.FastAPI()
    config = for_fastapi.SQLAlchemyAsyncConfig(connection_string=url, commit_mode=commit_mode)
    database = for_fastapi.AdvancedAlchemy(config=config, app=app)

    @app.post("/{room}")
    async def receive(room: str, session: typing.Annotated[AsyncSession, fastapi.Depends(database.provide_session())]):
        await store(session, room)
        if commit_mode == "manual":
            await session.commit()

    return app


def with_own_commit(url):
    return with_fastapi(url, "manual")


def with_starlette(url):
    config = for_starlette.SQLAlchemyAsyncConfig(connection_string=url, commit_mode="autocommit")

    async def receive(request):
        await store(database.get_async_session(request), request.path_params["room"])
        return PlainTextResponse()

    app = Starlette(routes=[Route("/{room}", receive, methods=["POST"])])
    database = for_starlette.AdvancedAlchemy(config=config, app=app)
    return app


async def main():
    for name, make in ("FastAPI", with_fastapi), ("Starlette", with_starlette), ("own commit", with_own_commit):
        url = f"sqlite+aiosqlite:///{name}.db"
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            for statement in SCHEMA.split(";"):
                await connection.execute(text(statement))
        server = uvicorn.Server(uvicorn.Config(make(url), port=0, log_config=None))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.1)
        port = server.servers[0].sockets[0].getsockname()[1]
        errors.count = 0
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            statuses = [(await client.post(f"/{room}")).status_code for room in ("known", "unknown")]
        server.should_exit = True
        await serving
        async with engine.begin() as connection:
            stored = list(await connection.scalars(text("SELECT id FROM event")))
        rows = ", ".join(stored)
        print(f"{name}: known room {statuses[0]}, unknown room {statuses[1]}; stored: {rows}; {errors.count} errors logged")


asyncio.run(main())
PY
echo "advanced-alchemy 1.12.0, FastAPI 0.165.0, Starlette 1.10.0, SQLAlchemy 2.1.9"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='FastAPI: known room 200, unknown room 200; stored: in known room; 0 errors logged
Starlette: known room 200, unknown room 200; stored: in known room; 0 errors logged
own commit: known room 200, unknown room 500; stored: in known room; 1 errors logged'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
