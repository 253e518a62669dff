#!/usr/bin/env bash
# UniqueAckQ of persist-queue 1.1.0 drops an item that was put before, without an error, even when it failed.
#
# Guess: an item is unique while it waits. Once it is acknowledged, or given up with `ack_failed`, `put` queues it again,
# as UniqueQ of the same package does after `get`.
# Seen: the row of a finished item stays in the table, and the unique index refuses the new one silently: `put` returns
# None and the queue stays empty, after a restart too. `clear_acked_data` with its default arguments keeps the row.
# It matters to whoever queues a room's id to fetch its state: each room is fetched once. And an event that failed, and is
# sent again by hand, is answered 2xx and never handled.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check persist-queue==1.1.0
cat > run.py <<'PY'
from persistqueue import UniqueAckQ, UniqueQ

queue = UniqueQ("unique", auto_commit=True)
queue.put("room")
queue.get()
queue.put("room")
print(f"UniqueQ, put again after get: size {queue.size}")
for end in "ack", "ack_failed":
    queue = UniqueAckQ(end)
    queue.put("room")
    getattr(queue, end)(queue.get())
    row = queue.put("room")
    size = queue.size
    queue.clear_acked_data()
    queue.put("room")
    print(f"UniqueAckQ, put again after {end}: {row}, size {size}; cleared {queue.size}; opened again {UniqueAckQ(end).size}")
PY
venv/bin/pip list 2>/dev/null | grep persist-queue | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='UniqueQ, put again after get: size 1
UniqueAckQ, put again after ack: None, size 0; cleared 0; opened again 0
UniqueAckQ, put again after ack_failed: None, size 0; cleared 0; opened again 0'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
