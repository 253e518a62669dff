#!/usr/bin/env bash
# In pg-mem 3.0.14 an upsert whose `WHERE` is false returns a row: a refused claim looks like one that was granted.
#
# Guess: `INSERT … ON CONFLICT DO UPDATE … WHERE … RETURNING` returns no row when the condition is false, as in PostgreSQL.
# Seen: pg-mem leaves the row as it was, and returns it, with `rowCount` 1. An id that occurs twice in one such INSERT is
# written twice, where PostgreSQL (here PGlite 0.5.14) refuses the statement.
# It matters to whoever tests a claim ("free, or its lease expired") with pg-mem: a duplicate is
# granted its claim in the test, and code that is right fails there. Use PGlite, or compare the returned owner as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts pg-mem@3.0.14 @electric-sql/pglite@0.5.14
cat > run.js <<'JS'
import { PGlite } from '@electric-sql/pglite';
import { newDb } from 'pg-mem';

const claim = (owner, now) => `
  INSERT INTO claims (id, owner, expires) VALUES ('event', '${owner}', ${now + 60})
  ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, expires = excluded.expires
  WHERE claims.expires <= ${now} RETURNING owner`;
const statements = {
  'first claim by A': claim('A', 0),
  'claim by B before it expires': claim('B', 30),
  'claim by C after it expired': claim('C', 90),
  'one id twice': `INSERT INTO claims VALUES ('other', 'A', 1), ('other', 'B', 2)
    ON CONFLICT (id) DO UPDATE SET owner = excluded.owner RETURNING owner`,
};
const mem = newDb().public, lite = await PGlite.create();
for (const [name, query] of Object.entries({ 'pg-mem': sql => mem.query(sql), PGlite: sql => lite.query(sql) })) {
  await query('CREATE TABLE claims (id text PRIMARY KEY, owner text, expires int)');
  for (const [what, sql] of Object.entries(statements)) {
    try {
      console.log(`${name}, ${what}: ${JSON.stringify((await query(sql)).rows)}`);
    } catch (error) {
      console.log(`${name}, ${what}: ${error.message}`);
    }
  }
}
JS
echo "pg-mem 3.0.14, PGlite 0.5.14"
seen=$(node run.js)
echo "$seen"
expected='pg-mem, first claim by A: [{"owner":"A"}]
pg-mem, claim by B before it expires: [{"owner":"A"}]
pg-mem, claim by C after it expired: [{"owner":"C"}]
pg-mem, one id twice: [{"owner":"A"},{"owner":"B"}]
PGlite, first claim by A: [{"owner":"A"}]
PGlite, claim by B before it expires: []
PGlite, claim by C after it expired: [{"owner":"C"}]
PGlite, one id twice: ON CONFLICT DO UPDATE command cannot affect row a second time'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
