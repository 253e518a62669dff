#!/usr/bin/env bash
# With `mirror` of nginx 1.22 a slow copy delays production: the next request of the connection waits until the copy is answered.
#
# Guess: "responses to mirror subrequests are ignored": a copy of each delivery for a test system costs production nothing.
# Seen: the answer is sent at once, but the request does not end before its copy does. The next request on the same connection
# is not read until then: 3 s here; a copy that hangs ends with `proxy_read_timeout`, 60 s by default. New connections
# are not delayed. `keepalive_timeout 0` helps, or a short `proxy_read_timeout` for the copy.
# It matters to whoever copies webhooks to a test system: a sender keeps its connections, so that every delivery but the first
# waits for the test system, and is given up when that stands still.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
chmod 755 "$folder" # apt downloads as another user
apt-get download -qq nginx 2> apt.log || { cat apt.log >&2; exit 1; } # Debian 12, after `apt-get update`
dpkg-deb --extract nginx_*.deb root
cat > run.py <<'PY'
import http.client, http.server, os, pathlib, socket, subprocess, threading, time


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.seconds)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


def receiver(seconds):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.seconds = seconds
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


production, test = receiver(0), receiver(3)
for settings in "", "keepalive_timeout 0;", "proxy_read_timeout 200ms;":
    port, here = free_port(), os.getcwd()
    temporary = "".join(f"{kind}_temp_path {here}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    copy, all_requests = (settings, "") if "proxy" in settings else ("", settings)
    pathlib.Path("nginx.conf").write_text(f"""
        daemon off; pid {here}/pid; error_log {here}/error.log; events {{}}
        http {{
            access_log off; {temporary} {all_requests}
            server {{
                listen 127.0.0.1:{port};
                location / {{ mirror /copy; proxy_pass http://127.0.0.1:{production}; }}
                location = /copy {{ internal; {copy} proxy_pass http://127.0.0.1:{test}$request_uri; }}
            }}
        }}
    """)
    nginx = subprocess.Popen(["root/usr/sbin/nginx", "-c", f"{here}/nginx.conf", "-e", f"{here}/error.log"])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    answers = []
    for _ in range(3):
        began = time.monotonic()
        connection.request("POST", "/", b"{}")
        answer = connection.getresponse()
        answer.read()
        answers.append(f"{answer.status} {'after 3 s' if time.monotonic() - began > 2.5 else 'before 3 s'}")
    print(f"{settings or 'default'}: {', '.join(answers)}")
    nginx.terminate()
    nginx.wait()
PY
root/usr/sbin/nginx -v 2>&1
seen=$(python3 run.py)
echo "$seen"
expected='default: 200 before 3 s, 200 after 3 s, 200 after 3 s
keepalive_timeout 0;: 200 before 3 s, 200 before 3 s, 200 before 3 s
proxy_read_timeout 200ms;: 200 before 3 s, 200 before 3 s, 200 before 3 s'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
