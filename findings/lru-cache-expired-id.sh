#!/usr/bin/env bash
# lru-cache 11.5.3 with `noUpdateTTL` never remembers an expired id again when it is asked with `has`.
#
# Guess: with `noUpdateTTL`, setting a key whose time has run out counts as a new entry and gets a new
# time to live: `has` has just said that the key is not there.
# Seen: the expired entry is still stored, so the new value inherits the time that has run out. `has` is
# false right after `set`, and stays false. After `get`, which deletes the expired entry, it works.
# It matters to whoever deduplicates with it, and sets `noUpdateTTL` so that a repeated delivery does not
# prolong the time: the usual `if (!seen.has(id)) { seen.set(id, 1); handle(); }` handles each further
# delivery of an id that was forgotten once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts lru-cache@11.5.3
cat > run.js <<'JS'
import { LRUCache } from 'lru-cache';
let now = 1; // the cache's own clock, moved by hand
const run = (noUpdateTTL, read) => {
  const seen = new LRUCache({ max: 10, ttl: 1000, ttlResolution: 0, noUpdateTTL, perf: { now: () => now } });
  const handled = [];
  for (now of [1, 501, 2001, 2002, 2003]) {
    if (!seen[read]('id')) {
      seen.set('id', 1);
      handled.push(now);
    }
  }
  return `noUpdateTTL ${noUpdateTTL}, ${read}: handled at ${handled}`;
};
console.log([run(false, 'has'), run(true, 'get'), run(true, 'has')].join('; '));
JS
echo "lru-cache $(node -p 'JSON.parse(require("fs").readFileSync("node_modules/lru-cache/package.json")).version'), Node $(node --version)"
seen=$(node run.js)
echo "$seen"
expected='noUpdateTTL false, has: handled at 1,2001; noUpdateTTL true, get: handled at 1,2001; noUpdateTTL true, has: handled at 1,2001,2002,2003'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
