#!/usr/bin/env bash
# `add` of cachelib's FileSystemCache (0.17.0) refuses an id for ever once its time is over.
#
# Guess: `add` stores a key that is not there, and one whose time is over is not there: `has` is False, `get` None.
# Seen: FileSystemCache looks only whether the file exists. The expired file stays, also after `has` and `get`, so `add`
# is False each time. SimpleCache of the same package adds it again.
# It matters to whoever deduplicates with `if cache.add(id, 1, timeout=...)`, also through Flask-Caching, or holds a
# lock that way: a lock whose holder died is never free again, and a redelivery is always taken for a duplicate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cachelib==0.17.0
cat > run.py <<'PY'
import time
from cachelib import FileSystemCache, SimpleCache

for cache in SimpleCache(), FileSystemCache("files"):
    first = cache.add("id", 1, timeout=1)
    time.sleep(2.5)  # whole seconds are compared
    print(f"{type(cache).__name__}: first {first}; when expired: has {cache.has('id')}, get {cache.get('id')}, add {cache.add('id', 1, timeout=60)}, get {cache.get('id')}")
PY
venv/bin/pip list 2>/dev/null | grep cachelib | tr -s ' '
seen=$(venv/bin/python run.py)
echo "$seen"
expected='SimpleCache: first True; when expired: has False, get None, add True, get 1
FileSystemCache: first True; when expired: has False, get None, add False, get None'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
