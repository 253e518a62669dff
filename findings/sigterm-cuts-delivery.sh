#!/usr/bin/env bash
# Waitress 3.0.2, Daphne 4.2.3 and Cheroot 11.1.2 cut a request in two when they are told to stop.
#
# Guess: on SIGTERM, which Docker, Kubernetes and systemd send at each deployment, a server for production stops to accept
# and answers the request that it has, as gunicorn 27.0.1 and uvicorn 0.54.0 do.
# Seen: with their own commands and default settings all three close the connection without an answer, and the handler
# does not come to its end: the threads of Waitress and Cheroot die with the process, the task of Daphne is cancelled.
# It matters to whoever receives webhooks: each deployment leaves events half handled, and the sender sees a failure. In
# containers the process that gets the signal is the server itself. Drain in the proxy, or stop it from your own handler.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cheroot==11.1.2 daphne==4.2.3 gunicorn==27.0.1 uvicorn==0.54.0 waitress==3.0.2
cat > app.py <<'PY'
import asyncio, pathlib, time

BODY = b"done"


def with_wsgi(environ, start_response):
    pathlib.Path("started").touch()
    time.sleep(2)
    pathlib.Path("finished").touch()
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]


async def with_asgi(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    pathlib.Path("started").touch()
    await asyncio.sleep(2)
    pathlib.Path("finished").touch()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(BODY)).encode())]})
    await send({"type": "http.response.body", "body": BODY})
PY
cat > run.py <<'PY'
import pathlib, socket, subprocess, time

COMMANDS = {
    "gunicorn": ["gunicorn", "--bind", "127.0.0.1:{port}", "app:with_wsgi"],
    "uvicorn": ["uvicorn", "--port", "{port}", "app:with_asgi"],
    "waitress": ["waitress-serve", "--listen", "127.0.0.1:{port}", "app:with_wsgi"],
    "daphne": ["daphne", "--port", "{port}", "app:with_asgi"],
    "cheroot": ["cheroot", "--bind", "127.0.0.1:{port}", "app:with_wsgi"],
}


def connect(port):
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


for name, command in COMMANDS.items():
    for file in "started", "finished":
        pathlib.Path(file).unlink(missing_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [f"venv/bin/{command[0]}", *(part.format(port=port) for part in command[1:])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        while not pathlib.Path("started").exists():
            time.sleep(0.05)
        server.terminate()
        client.settimeout(60)
        try:
            answer = client.recv(1024)[:12].decode() or "closed"
        except ConnectionResetError:
            answer = "closed"
    server.wait()
    print(f"{name}: {answer}, handler {'finished' if pathlib.Path('finished').exists() else 'did not finish'}")
PY
echo "gunicorn 27.0.1, uvicorn 0.54.0, waitress 3.0.2, daphne 4.2.3, cheroot 11.1.2"
seen=$(PYTHONPATH=. venv/bin/python run.py)
echo "$seen"
expected='gunicorn: HTTP/1.1 200, handler finished
uvicorn: HTTP/1.1 200, handler finished
waitress: closed, handler did not finish
daphne: closed, handler did not finish
cheroot: closed, handler did not finish'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
