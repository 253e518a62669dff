#!/usr/bin/env bash
# A late worker of pg-boss 10.4.2 completes the retry that another worker runs; when that one fails, there is no retry.
#
# Guess: when a job expires and is fetched again, the first worker has lost it: its `complete` changes nothing.
# Seen: `complete` asks only whether the job is active. It is, for the second worker. The job is completed under its hands,
# and the `fail` of the second worker changes nothing: no retry, no dead letter, with retries left.
# It matters to whoever handles events with `fetch` and `complete`, and a handler takes longer than `expireInSeconds`: the
# failure of the second run, which may have undone what the first one wrote, is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts pg-boss@10.4.2 @electric-sql/pglite@0.5.14
cat > run.js <<'JS'
import { PGlite } from '@electric-sql/pglite';
import PgBoss from 'pg-boss';

const lite = await PGlite.create();
const executeSql = async (text, values) => values?.length ? lite.query(text, values) : (await lite.exec(text)).at(-1) ?? { rows: [] };
const boss = new PgBoss({ db: { executeSql }, schedule: false, supervise: false });
await boss.start();
await boss.createQueue('events');
const id = await boss.send('events', {}, { expireInSeconds: 1, retryLimit: 5, retryDelay: 0 });
const show = async (what, result) => {
  const { state, retryCount } = await boss.getJobById('events', id);
  console.log(`${what}: ${result}; ${state}, retry ${retryCount} of 5`);
};
const fetch = async () => (await boss.fetch('events')).length;
await show('first worker fetches', await fetch());
await new Promise(resolve => setTimeout(resolve, 1500));
await boss.maintain();
await show('expired', 1);
await show('second worker fetches', await fetch());
await show('first worker completes', (await boss.complete('events', id)).affected);
await show('second worker fails', (await boss.fail('events', id, new Error('database is down'))).affected);
await show('third worker fetches', await fetch());
process.exit();
JS
echo "pg-boss 10.4.2, on PGlite 0.5.14"
seen=$(node run.js)
echo "$seen"
expected='first worker fetches: 1; active, retry 0 of 5
expired: 1; retry, retry 0 of 5
second worker fetches: 1; active, retry 1 of 5
first worker completes: 1; completed, retry 1 of 5
second worker fails: 0; completed, retry 1 of 5
third worker fetches: 0; completed, retry 1 of 5'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
