#!/usr/bin/env bash
# A cuckoo filter of pyprobables 0.7.0 (PyPI) knows 99 % of new ids; one of bloom-filters 3.0.4 (npm) forgets a third of its own.
#
# Guess: a cuckoo filter made for 5 000 ids and an error rate of 1 %, with 5 000 ids in it, has each of them ("no" is certain),
# and says "known" to about 1 % of others.
# Seen: `CuckooFilter.init_error_rate(0.01, capacity=5_000)` of pyprobables says "known" to 99 % of others: both places of an id
# come from its short fingerprint, so that with 10 bits there are 1 024 different ids in all. It is never full, and its
# `error_rate` says 0.01. `CuckooFilter.create(5000, 0.01)` of bloom-filters has lost every third id, though `add` was true: the
# second place of an id is not found again from the first. Half full it loses some. The Bloom filters of both are right.
# It matters to whoever remembers webhook ids in one: nearly each new event is dropped as a duplicate, or duplicates run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pyprobables==0.7.0
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts bloom-filters@3.0.4
cat > run.py <<'PY'
import uuid

from probables import BloomFilter, CuckooFilter

COUNT = 5_000
ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(2 * COUNT)]
for name, cache in {
    "Bloom 0.01": BloomFilter(COUNT, 0.01),
    "cuckoo 0.01": CuckooFilter.init_error_rate(0.01, capacity=COUNT),
    "cuckoo 0.001": CuckooFilter.init_error_rate(0.001, capacity=COUNT),
    "cuckoo 32 bits": CuckooFilter(capacity=COUNT),
}.items():
    for id in ids[:COUNT]:
        cache.add(id)
    own, others = (sum(bool(cache.check(id)) for id in part) for part in (ids[:COUNT], ids[COUNT:]))
    print(f"pyprobables {name}: {own / COUNT:.1%} of its ids, {others / COUNT:.1%} of others")
PY
cat > run.js <<'JS'
import { createHash } from 'node:crypto';
import filters from 'bloom-filters';

const count = 5_000;
const ids = Array.from({ length: 2 * count }, (_, number) => createHash('md5').update(`${number}`).digest('hex'));
const percent = (filter, part) => `${(100 * part.filter(id => filter.has(id)).length / part.length).toFixed(1)}%`;
for (const [name, filter, added] of [
  ['Bloom 0.01', filters.BloomFilter.create(count, 0.01), count],
  ['cuckoo 0.01', filters.CuckooFilter.create(count, 0.01), count],
  ['cuckoo 0.01, half full', filters.CuckooFilter.create(count, 0.01), count / 2],
]) {
  const refused = ids.slice(0, added).filter(id => filter.add(id) === false).length;
  const [own, others] = [ids.slice(0, added), ids.slice(count)].map(part => percent(filter, part));
  console.log(`bloom-filters ${name}: ${own} of its ids, ${others} of others, ${refused} refused`);
}
JS
echo "pyprobables 0.7.0, bloom-filters 3.0.4"
seen=$(venv/bin/python run.py; node run.js)
echo "$seen"
expected='pyprobables Bloom 0.01: 100.0% of its ids, 1.1% of others
pyprobables cuckoo 0.01: 100.0% of its ids, 99.2% of others
pyprobables cuckoo 0.001: 100.0% of its ids, 44.9% of others
pyprobables cuckoo 32 bits: 100.0% of its ids, 0.0% of others
bloom-filters Bloom 0.01: 100.0% of its ids, 0.9% of others, 0 refused
bloom-filters cuckoo 0.01: 68.1% of its ids, 2.9% of others, 0 refused
bloom-filters cuckoo 0.01, half full: 99.4% of its ids, 1.4% of others, 0 refused'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
