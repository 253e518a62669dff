#!/usr/bin/env bash
# With `retry=0` the balancer of Apache 2.4 answers deliveries 503 while one of two receivers is down, and none without it.
#
# Guess: `retry=0`, the usual advice so that a restarted receiver gets requests at once, costs a failed connection at most.
# A request that finds its receiver dead goes to the other one, as it does by default.
# Seen: a request may try one receiver again (`maxattempts` is one less than their number). By default the dead one is left
# alone for a minute, so that the second attempt reaches the living one. With `retry=0` it may be chosen twice, if requests
# run beside each other: 503. `retry=0` with `maxattempts=10` answered all.
# It matters to whoever restarts receivers one by one: the setting against lost deliveries loses some.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
chmod 755 "$folder" # apt downloads as another user
apt-get download -qq apache2-bin libapr1 libaprutil1 2> apt.log || { cat apt.log >&2; exit 1; } # Debian 12, after `apt-get update`
for package in *.deb; do dpkg-deb --extract "$package" root; done
cat > run.py <<'PY'
import collections, concurrent.futures, glob, http.client, http.server, os, pathlib, socket, subprocess, threading, time

ROOT = os.path.abspath("root/usr")
MODULES = ["mpm_event", "authz_core", "proxy", "proxy_http", "slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
LIBRARIES = {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(glob.glob(f"{ROOT}/lib/*/libapr-1.so.0")[0])}


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def deliver(port):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/", b"{}")
    status = connection.getresponse().status
    connection.close()
    return status


alive = Server(("127.0.0.1", 0), Receiver)
threading.Thread(target=alive.serve_forever, daemon=True).start()
for member, balancer in ("", ""), ("retry=0", ""), ("retry=0", "maxattempts=10"):
    port, dead = free_port(), free_port()
    pathlib.Path("apache.conf").write_text(
        f"ServerRoot {os.getcwd()}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile pid\nErrorLog error.log\n"
        + "".join(f"LoadModule {name}_module {ROOT}/lib/apache2/modules/mod_{name}.so\n" for name in MODULES)
        + "<Proxy balancer://receivers>\n"
        + "".join(f"BalancerMember http://127.0.0.1:{to} {member}\n" for to in (dead, alive.server_port))
        + (f"ProxySet {balancer}\n" if balancer else "")
        + "</Proxy>\nProxyPass / balancer://receivers/\n"
    )
    apache = subprocess.Popen([f"{ROOT}/sbin/apache2", "-f", f"{os.getcwd()}/apache.conf", "-DFOREGROUND"], env=LIBRARIES)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    with concurrent.futures.ThreadPoolExecutor(8) as senders:
        seen = collections.Counter(senders.map(deliver, [port] * 2_000))
    apache.terminate()
    apache.wait()
    kinds = ", ".join(f"{'all' if count == 2_000 else 'some' if status != 200 else 'most'} {status}" for status, count in sorted(seen.items()))
    print(f"{' '.join(filter(None, (member, balancer))) or 'default'}: {kinds}")
PY
LD_LIBRARY_PATH=$(dirname root/usr/lib/*/libapr-1.so.0) root/usr/sbin/apache2 -v | head -1
seen=$(python3 run.py)
echo "$seen"
expected='default: all 200
retry=0: most 200, some 503
retry=0 maxattempts=10: all 200'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
