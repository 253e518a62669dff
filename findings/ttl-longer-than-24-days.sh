#!/usr/bin/env bash
# expiry-map 2.0.0 and memory-cache 0.2.0 forget an id at once when it is to be kept for 30 days.
#
# Guess: a cache with a time to live keeps an entry for that time, or refuses a time that it cannot count.
# Seen: both hand the time to a timer of Node, which counts to 2^31-1 ms (24.8 days) and makes 1 ms of
# everything above. lru-cache 11.5.3 with `ttlAutopurge` keeps the entry, but a timer runs each millisecond
# from then on. Node prints a TimeoutOverflowWarning; the packages say nothing.
# It matters to whoever deduplicates webhooks for as long as the sender may retry: with 24 days it works,
# with 30 each duplicate is handled.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts expiry-map@2.0.0 lru-cache@11.5.3 memory-cache@0.2.0
cat > run.js <<'JS'
import ExpiryMap from 'expiry-map';
import { LRUCache } from 'lru-cache';
import memoryCache from 'memory-cache';
let warnings = 0;
process.on('warning', () => { warnings += 1; });
for (const days of [24, 30]) {
  const ttl = days * 86_400_000;
  const caches = {
    'expiry-map': () => { const map = new ExpiryMap(ttl); map.set('id', 1); return map; },
    'memory-cache': () => { const cache = new memoryCache.Cache(); cache.put('id', 1, ttl); return cache; },
    'lru-cache': () => { const cache = new LRUCache({ ttl, ttlAutopurge: true }); cache.set('id', 1); return cache; },
  };
  for (const [name, create] of Object.entries(caches)) {
    warnings = 0;
    const cache = create();
    await new Promise((done) => { setTimeout(done, 1000); });
    const timers = warnings < 2 ? warnings : 'many';
    console.log(`${name}, ${days} days: ${cache.get('id') ? 'kept' : 'forgotten'}, ${timers} timers too long`);
  }
}
process.exit();
JS
echo "$(npm ls --depth=0 --parseable --long | sed -n 's/.*:\(.*\(map\|cache\)@\)/\1/p' | tr '\n' ' '), Node $(node --version)"
seen=$(node --no-warnings run.js)
echo "$seen"
expected='expiry-map, 24 days: kept, 0 timers too long
memory-cache, 24 days: kept, 0 timers too long
lru-cache, 24 days: kept, 0 timers too long
expiry-map, 30 days: forgotten, 1 timers too long
memory-cache, 30 days: forgotten, 1 timers too long
lru-cache, 30 days: kept, many timers too long'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
