#!/usr/bin/env bash
# FastWSGI 0.0.9 passes the last of several header lines with one name, and drops the others.
#
# Guess: repeated lines are joined with a comma, as CGI (RFC 3875, 4.1.18) and RFC 9110, 5.3, say, and as
# gunicorn, Waitress and gevent do.
# Seen: the application gets the last line alone.
# It matters to whoever checks signatures while a secret is rotated: of two signature lines, the receiver
# checks only the second, and cannot tell that there was another.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastwsgi==0.0.9 waitress==3.0.2
cat > serve.py <<'PY'
import sys


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["HTTP_X_SIGNATURE"].encode()]


if sys.argv[1] == "fastwsgi":
    import fastwsgi

    fastwsgi.run(wsgi_app=app, host="127.0.0.1", port=int(sys.argv[2]))
else:
    import waitress

    waitress.serve(app, host="127.0.0.1", port=int(sys.argv[2]))
PY
cat > run.py <<'PY'
import http.client, socket, subprocess, sys, time

for name in ["fastwsgi", "waitress"]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(f"{name}.log", "w") as log:
        server = subprocess.Popen([sys.executable, "serve.py", name, str(port)], stdout=log, stderr=log)
    try:
        for attempt in range(600):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        connection.putrequest("POST", "/")
        for value in ["of-the-old-secret", "of-the-new-secret"]:
            connection.putheader("X-Signature", value)
        connection.putheader("Content-Length", "2")
        connection.endheaders(b"{}")
        print(f"{name}: {connection.getresponse().read().decode()}")
        connection.close()
    finally:
        server.terminate()
        server.wait()
PY
venv/bin/pip list 2>/dev/null | grep -iE '^(fastwsgi|waitress) ' | tr -s ' \n' '  '
echo
seen=$(venv/bin/python run.py)
echo "$seen"
expected='fastwsgi: of-the-new-secret
waitress: of-the-old-secret, of-the-new-secret'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
