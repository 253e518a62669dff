// usage: node graphile-worker.mjs URL JOBS CONCURRENCY documented|fastest
// `fastest`: a local queue and completions in batches, as in "Performance: batching" of its documentation.
import { Logger, run, runMigrations } from "graphile-worker";
import pg from "pg";

const [connectionString, jobs, concurrency, mode] = process.argv.slice(2);
const pgPool = new pg.Pool({ connectionString, max: Number(concurrency) + 2 });
pgPool.on("error", () => {});
pgPool.on("connect", (client) => client.on("error", () => {}));
await runMigrations({ pgPool });
await pgPool.query(
  `SELECT graphile_worker.add_job('apply', json_build_object('id', i, 'status', 'busy')) FROM generate_series(1, $1) AS i`,
  [jobs],
);
const batches = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
let done = 0;
const finished = Promise.withResolvers();
const worker = { concurrentJobs: Number(concurrency), ...(mode === "fastest" ? batches : {}) };
const start = performance.now();
const runner = await run({
  pgPool,
  noHandleSignals: true,
  preset: { worker: { ...worker, logger: new Logger(() => () => {}) } },
  taskList: {
    apply: async ({ id, status }) => {
      await pgPool.query("INSERT INTO applied (event_id, status) VALUES ($1, $2)", [id, status]);
      done += 1;
      if (done === Number(jobs)) finished.resolve();
    },
  },
});
await finished.promise;
console.log((1000 * jobs) / (performance.now() - start));
await runner.stop();
process.exit(0);
