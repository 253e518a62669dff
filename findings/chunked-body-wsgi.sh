#!/usr/bin/env bash
# A chunked POST reaches Django and Falcon without its body, and Bottle not at all, on gunicorn 27.0.1.
#
# Guess: the server removes the chunks, so every WSGI framework gives the same raw body to a signature check,
# whether the sender used `Content-Length` or chunks (as .NET's `PostAsJsonAsync` does).
# Seen: gunicorn passes the decoded body, no CONTENT_LENGTH, and `Transfer-Encoding: chunked`. Flask 3.1.3
# reads the body. Django 5.2.19 (`request.body`) and Falcon 4.4.0 (`bounded_stream`) read an empty one without
# an error. Bottle 0.13.4 decodes the chunks a second time and answers 400. Waitress 3.0.2 buffers the body,
# sets CONTENT_LENGTH and hides the chunks: all four read it.
# It matters to whoever verifies webhooks in Python: a correct signature is rejected on one server and
# accepted on the other, and the empty body points to the sender.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check bottle==0.13.4 django==5.2.19 falcon==4.4.0 flask==3.1.3 \
  gunicorn==27.0.1 waitress==3.0.2
cat > apps.py <<'PY'
import bottle, django, falcon, flask
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(ROOT_URLCONF="apps", SECRET_KEY="key", ALLOWED_HOSTS=["*"], MIDDLEWARE=[])
urlpatterns = [path("django", lambda request: HttpResponse(request.body))]

flask_app = flask.Flask("apps")
flask_app.post("/flask")(lambda: flask.request.get_data())

bottle_app = bottle.Bottle()
bottle_app.post("/bottle")(lambda: bottle.request.body.read())


class Resource:
    def on_post(self, request, response):
        response.data = request.bounded_stream.read()


falcon_app = falcon.App()
falcon_app.add_route("/falcon", Resource())
apps = {"/django": get_wsgi_application(), "/flask": flask_app, "/bottle": bottle_app, "/falcon": falcon_app}


def app(environ, start_response):
    return apps[environ["PATH_INFO"]](environ, start_response)
PY
cat > run.py <<'PY'
import http.client, socket, subprocess, time

SERVERS = {
    "gunicorn": ["venv/bin/gunicorn", "--log-level=error", "--bind=127.0.0.1:{}", "apps:app"],
    "waitress": ["venv/bin/waitress-serve", "--listen=127.0.0.1:{}", "apps:app"],
}
for name, command in SERVERS.items():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(f"{name}.log", "w") as log:
        server = subprocess.Popen([part.format(port) for part in command], stdout=log, stderr=log)
    seen = []
    try:
        for framework in ["flask", "django", "falcon", "bottle"]:
            for attempt in range(600):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    connection.request("POST", f"/{framework}", iter([b'{"id":', b"1}"]), encode_chunked=True)
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            answer = connection.getresponse()
            body = answer.read()
            seen.append(f"{framework} {answer.status} {body.decode() if answer.status == 200 else ''}".strip())
            connection.close()
    finally:
        server.terminate()
        server.wait()
    print(f"{name}: {', '.join(seen)}")
PY
venv/bin/pip list 2>/dev/null | grep -iE '^(bottle|django|falcon|flask|gunicorn|waitress) ' | tr -s ' \n' '  '
echo
seen=$(venv/bin/python run.py)
echo "$seen"
expected='gunicorn: flask 200 {"id":1}, django 200, falcon 200, bottle 400
waitress: flask 200 {"id":1}, django 200 {"id":1}, falcon 200 {"id":1}, bottle 200 {"id":1}'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
