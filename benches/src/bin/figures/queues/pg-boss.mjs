// usage: node pg-boss.mjs URL JOBS CONCURRENCY documented|fastest
// Both fetch again at once after a full batch. `documented`: as many workers as the concurrency, with ten jobs each in a
// batch. `fastest`: one worker with 500 jobs in a batch, whose handlers run side by side.
import { PgBoss } from "pg-boss";
import pg from "pg";

const [connectionString, jobs, concurrency, mode] = process.argv.slice(2);
const boss = new PgBoss({ connectionString, max: Number(concurrency) + 2 });
const pool = new pg.Pool({ connectionString, max: Number(concurrency) });
await boss.start();
await boss.createQueue("apply");
for (let first = 1; first <= Number(jobs); first += 1000) {
  const batch = Array.from({ length: Math.min(1000, jobs - first + 1) }, (_, i) => ({ data: { id: first + i, status: "busy" } }));
  await boss.insert("apply", batch);
}
const workers = mode === "fastest" ? { batchSize: 500 } : { batchSize: 10, localConcurrency: Number(concurrency) };
let done = 0;
const finished = Promise.withResolvers();
const start = performance.now();
await boss.work("apply", { ...workers, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }, async (batch) => {
  const insert = ({ data: { id, status } }) =>
    pool.query("INSERT INTO applied (event_id, status) VALUES ($1, $2)", [id, status]);
  if (mode === "fastest") await Promise.all(batch.map(insert));
  else for (const job of batch) await insert(job);
  done += batch.length;
  if (done === Number(jobs)) finished.resolve();
});
await finished.promise;
console.log((1000 * jobs) / (performance.now() - start));
process.exit(0);
