#!/usr/bin/env bash
# PostgreSQL 18.6 reads 60 000 rows to update two by their primary key, if ANALYZE last saw a load that was not committed.
#
# Guess: an update that joins two keys with a table searches the index of the primary key twice, whatever the statistics say.
# Seen: an ANALYZE during a load, or after one that was rolled back, finds pages and no rows. Until the next ANALYZE the planner
# takes the table for empty, at any size: one search costs as much as the whole index in its order, and it reads the index
# once and compares each row with the keys. With `= ANY (ARRAY[key])` for the first column it searches: an array has no order.
# It matters to whoever keeps events or claims in a table and changes them in batches: after an import, each batch reads all
# of them, and times out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @electric-sql/pglite@0.5.14
cat > run.js <<'JS'
import { PGlite } from '@electric-sql/pglite';

const lite = await PGlite.create();
const load = "INSERT INTO events SELECT 'roomz', md5(i::text), false FROM generate_series(1, 60000) i";
const update = (tenant) => `UPDATE events SET done = true
  FROM unnest(ARRAY['roomz', 'roomz'], ARRAY[md5('1'), md5('2')]) AS new (tenant, id)
  WHERE events.tenant = ${tenant} AND events.id = new.id`;
const rowsRead = (plan) => (plan['Relation Name'] === 'events' && plan['Node Type'] !== 'ModifyTable'
  ? (plan['Actual Rows'] + (plan['Rows Removed by Filter'] ?? 0)) * plan['Actual Loops'] : 0)
  + (plan.Plans ?? []).map(rowsRead).reduce((one, next) => one + next, 0);
const show = async (what, tenant) => {
  const { rows } = await lite.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${update(tenant)}`);
  console.log(`${what}: ${rowsRead(rows[0]['QUERY PLAN'][0].Plan)} rows read`);
};
await lite.exec('CREATE TABLE events (tenant text, id text, done boolean, PRIMARY KEY (tenant, id))');
for (const step of ['BEGIN', load, 'ROLLBACK', 'ANALYZE events', load]) await lite.exec(step);
const { rows } = await lite.query("SELECT reltuples, relpages > 0 AS pages FROM pg_class WHERE relname = 'events'");
console.log(`statistics: ${rows[0].reltuples} rows, pages: ${rows[0].pages}`);
await show('key = key', 'new.tenant');
await show('key = ANY (ARRAY[key])', 'ANY (ARRAY[new.tenant])');
await lite.exec('ANALYZE events');
await show('key = key, analyzed again', 'new.tenant');
JS
echo "PostgreSQL 18.6, as PGlite 0.5.14"
seen=$(node run.js)
echo "$seen"
expected='statistics: 0 rows, pages: true
key = key: 60000 rows read
key = ANY (ARRAY[key]): 2 rows read
key = key, analyzed again: 2 rows read'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
