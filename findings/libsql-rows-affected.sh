#!/usr/bin/env bash
# A granted claim has 0 affected rows in @libsql/client 0.18.0 and libsql 0.1.11 (PyPI), when the statement has `RETURNING`.
#
# Guess: the count of affected rows of an INSERT is the same with and without `RETURNING`: 1 when a row was written, 0 when the
# condition of its `ON CONFLICT DO UPDATE … WHERE` was false. @libsql/client promises the count for each INSERT.
# Seen: on a local file @libsql/client reports 0 for each statement that returns rows, also in a transaction.
# `rowcount` of libsql for Python is that of the statement before: 0 for the first claim, and for one after a refusal.
# It matters to whoever claims an event with such an upsert and looks at `rowsAffected`: each event seems claimed by another
# worker, and none is handled. Look at the returned rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @libsql/client@0.18.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check libsql==0.1.11
cat > statements.json <<'JSON'
["CREATE TABLE claims (id TEXT PRIMARY KEY, owner TEXT, expires INT)",
 "INSERT INTO claims VALUES ('event', ?, ? + 60) ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, expires = excluded.expires WHERE claims.expires <= ?"]
JSON
cat > run.js <<'JS'
import { createClient } from '@libsql/client';
import { readFileSync } from 'node:fs';

const [table, claim] = JSON.parse(readFileSync('statements.json'));
for (const end of ['', ' RETURNING owner']) {
  const client = createClient({ url: `file:node${end.length}.db` });
  await client.execute(table);
  const run = async (target, owner, now) => {
    const { rowsAffected, rows } = await target.execute({ sql: claim + end, args: [owner, now, now] });
    return `${owner} ${rowsAffected} affected, ${rows.length} returned`;
  };
  const seen = [await run(client, 'A', 0), await run(client, 'B', 30), await run(client, 'C', 90)];
  const transaction = await client.transaction('write');
  seen.push(await run(transaction, 'D', 200));
  await transaction.commit();
  console.log(`@libsql/client,${end || ' plain'}: ${seen.join('; ')}`);
}
JS
cat > run.py <<'PY'
import json
import libsql

table, claim = json.load(open("statements.json"))
for end in "", " RETURNING owner":
    connection = libsql.connect(":memory:")
    connection.execute(table)
    seen = []
    for owner, now in ("A", 0), ("B", 30), ("C", 90), ("D", 200):
        cursor = connection.execute(claim + end, (owner, now, now))
        rows = cursor.fetchall() if end else []
        seen.append(f"{owner} {cursor.rowcount} affected, {len(rows)} returned")
    print(f"libsql for Python,{end or ' plain'}: {'; '.join(seen)}")
PY
echo "@libsql/client 0.18.0, $(venv/bin/pip list 2>/dev/null | grep -E '^libsql ' | tr -s ' ')"
seen=$(node run.js; venv/bin/python run.py)
echo "$seen"
expected='@libsql/client, plain: A 1 affected, 0 returned; B 0 affected, 0 returned; C 1 affected, 0 returned; D 1 affected, 0 returned
@libsql/client, RETURNING owner: A 0 affected, 1 returned; B 0 affected, 0 returned; C 0 affected, 1 returned; D 0 affected, 1 returned
libsql for Python, plain: A 1 affected, 0 returned; B 0 affected, 0 returned; C 1 affected, 0 returned; D 1 affected, 0 returned
libsql for Python, RETURNING owner: A 0 affected, 1 returned; B 0 affected, 0 returned; C 0 affected, 1 returned; D 1 affected, 1 returned'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
