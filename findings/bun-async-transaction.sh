#!/usr/bin/env bash
# `transaction` of bun:sqlite (Bun 1.4.4) commits an `async` handler at its first `await`; when it fails, its rows stay.
#
# Guess: `await db.transaction(async () => …)()` commits when the promise is fulfilled and rolls back when it is rejected; or an
# async function is refused.
# Seen: the commit comes at the first `await`. What was written before it stays when the handler raises, what is written after
# it is committed row by row, and other requests write in between. The types accept the function, and nothing warns.
# It matters to whoever stores the id of a webhook and handles the event in one transaction: the handler raises, the id stays,
# and the redelivery is a duplicate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund bun@1.4.4
cat > run.ts <<'TS'
import { Database } from 'bun:sqlite';

const database = new Database(':memory:');
database.run('CREATE TABLE seen (id TEXT PRIMARY KEY)');
const receive = database.transaction(async (id: string) => {
  if (database.run('INSERT OR IGNORE INTO seen VALUES (?)', [id]).changes === 0) return 'duplicate';
  await Promise.resolve();
  if (database.inTransaction) console.log('still in the transaction');
  throw new Error('the handler failed');
});
for (const delivery of ['first', 'second']) {
  console.log(`${delivery} delivery: ${await receive('1').catch(error => error.message)}`);
}
TS
echo "Bun $(node_modules/.bin/bun --version)"
seen=$(node_modules/.bin/bun run.ts)
echo "$seen"
expected='first delivery: the handler failed
second delivery: duplicate'
[ "$seen" = "$expected" ] || { echo "the behaviour changed; it was: $expected" >&2; exit 1; }
