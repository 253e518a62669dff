# usage: python procrastinate_queue.py URL JOBS CONCURRENCY documented|fastest
# `fastest`: deletes finished jobs instead of keeping them.
import asyncio
import sys
import time

import procrastinate
import psycopg_pool

url, jobs, concurrency, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=concurrency + 2))
pool = psycopg_pool.AsyncConnectionPool(url, min_size=concurrency, max_size=concurrency, open=False, kwargs={"autocommit": True})
done = 0
finished = asyncio.Event()


@app.task(name="apply")
async def apply(id, status):
    global done
    async with pool.connection() as connection:
        await connection.execute("INSERT INTO applied (event_id, status) VALUES (%s, %s)", (str(id), status))
    done += 1
    if done == jobs:
        finished.set()


async def main():
    async with app.open_async(), pool:
        await app.schema_manager.apply_schema_async()
        for first in range(1, jobs + 1, 1000):
            batch = [{"id": i, "status": "busy"} for i in range(first, min(first + 1000, jobs + 1))]
            await apply.batch_defer_async(*batch)
        start = time.monotonic()
        delete = "always" if mode == "fastest" else "never"
        worker = asyncio.create_task(app.run_worker_async(concurrency=concurrency, delete_jobs=delete, install_signal_handlers=False))
        await finished.wait()
        print(jobs / (time.monotonic() - start))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


asyncio.run(main())
