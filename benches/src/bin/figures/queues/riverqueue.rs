//! usage: riverqueue URL JOBS CONCURRENCY documented|fastest|transaction
//!
//! `documented`: fetches at most every 100 ms, the default. `fastest`: every millisecond. `transaction`: the
//! same, and the job is completed in the transaction of the handler, as the crate's example `transactions`
//! does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use riverqueue::migrate::PostgresMigrator;
use riverqueue::sqlx::{self, postgres::PgPoolOptions};
use riverqueue::{BoxError, Client, Job, JobArgs, QueueConfig, WorkContext, WorkOutcome, Workers};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, JobArgs, Serialize)]
#[river(kind = "apply")]
struct Apply {
    id: String,
    status: String,
}

const INSERT: &str = "INSERT INTO applied (event_id, status) VALUES ($1, $2)";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, jobs, concurrency, mode] = &arguments[..] else { panic!("four arguments") };
    let (jobs, concurrency): (usize, usize) = (jobs.parse()?, concurrency.parse()?);
    let pool = PgPoolOptions::new().max_connections(u32::try_from(concurrency)? + 3).connect(url).await?;
    PostgresMigrator::new(pool.clone()).migrate_up().await?;

    let (done, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, finish, database) = (Arc::clone(&done), Arc::clone(&finished), pool.clone());
    let has_transaction = mode == "transaction";
    let mut workers = Workers::new();
    workers.add_fn(move |context: WorkContext, job: Job<Apply>| {
        let (count, finish, database) = (Arc::clone(&count), Arc::clone(&finish), database.clone());
        async move {
            let insert = sqlx::query(INSERT).bind(job.args.id.clone()).bind(job.args.status.clone());
            if has_transaction {
                let mut transaction = riverqueue::database::begin_postgres(&database).await?;
                insert.execute(&mut *transaction).await?;
                context.job_complete_tx(&mut transaction).await?;
                transaction.commit().await?;
            } else {
                insert.execute(&database).await?;
            }
            if count.fetch_add(1, Ordering::Relaxed) + 1 == jobs {
                finish.notify_one();
            }
            Ok::<_, BoxError>(WorkOutcome::Complete)
        }
    })?;
    let mut queue = QueueConfig::new(concurrency);
    if mode != "documented" {
        queue = queue.with_fetch_cooldown(riverqueue::FETCH_COOLDOWN_MIN);
    }
    let client = Client::builder(pool).workers(workers).queue("default", queue).build()?;
    for first in (0..jobs).step_by(1_000) {
        let batch = first..jobs.min(first + 1_000);
        let batch: Vec<_> = batch.map(|i| Apply { id: i.to_string(), status: "busy".to_owned() }).collect();
        client.insert_many(batch).await?;
    }
    let start = Instant::now();
    let mut run = client.start()?;
    finished.notified().await;
    println!("{}", jobs as f64 / start.elapsed().as_secs_f64());
    run.stop().await?;
    Ok(())
}
