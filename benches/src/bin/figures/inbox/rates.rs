//! Events per second: bare inserts, deliveries to the endpoint behind the layer without a worker, and a
//! worker with a backlog.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::services::secret;
use roomz_inbox::{BoxError, Endpoint, Inbox, Job, Worker, WorkspacePresenceChanged};
use roomz_protocol::testing::TestEvent;
use roomz_webhook::{Webhook, WebhookLayer};
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tokio::time::sleep;
use tower::{Layer as _, service_fn};

use super::bare::{Bare, execute};
use super::load::{closed_loop, deliver, delivery};

pub(crate) const BARE_1: &str = "bare insert, one at a time";
pub(crate) const BARE_32: &str = "bare inserts, 32 concurrent";
pub(crate) const ADMIT_1: &str = "admission, one at a time";
pub(crate) const ADMIT_32: &str = "admission, 32 concurrent";
pub(crate) const WITH: &str = "done with a transaction, concurrency 10";
const DURATION: Duration = Duration::from_secs(1);
/// More than a worker does meanwhile.
const BACKLOG: i64 = 60_000;
const TABLE: &str = "CREATE TABLE IF NOT EXISTS presence_log (event_id TEXT, workspace_id TEXT, status TEXT, handled_at BIGINT)";
/// The states of rows.
pub(crate) const WAITING: i32 = 0;
pub(crate) const DONE: i32 = 2;

pub(crate) async fn print(url: &str) {
    drop(open(url, 10).await);
    let bare = Bare::create(url).await;
    println!("{BARE_1}\t{}", bare.insert(1, DURATION).await);
    println!("{ADMIT_1}\t{}", admit_to_empty(url, 1).await);
    println!("{BARE_32}\t{}", bare.insert(32, DURATION).await);
    println!("{ADMIT_32}\t{}", admit_to_empty(url, 32).await);
    for concurrency in [10, 50] {
        for (name, has_transaction) in [("without", false), ("with", true)] {
            let inbox = open(url, concurrency).await;
            fill(url, WAITING, BACKLOG).await;
            let rate = done(&inbox, concurrency, has_transaction, BACKLOG).await;
            println!("done {name} a transaction, concurrency {concurrency}\t{rate}");
        }
    }
}

/// Connects, and empties the tables.
pub(crate) async fn open(url: &str, concurrency: usize) -> Inbox {
    let connections = u32::try_from(concurrency).unwrap() + 3;
    let inbox = Inbox::builder(url)
        .with_max_connections(connections)
        .with_max_open(u64::MAX)
        .connect()
        .await
        .unwrap();
    execute(url, TABLE).await;
    empty(url).await;
    inbox
}

pub(crate) async fn empty(url: &str) {
    if url.starts_with("sqlite") {
        execute(url, "DELETE FROM roomz_inbox; DELETE FROM presence_log").await;
    } else {
        execute(url, "TRUNCATE roomz_inbox; TRUNCATE presence_log").await;
    }
}

pub(crate) fn receiver(inbox: &Inbox) -> Webhook<Endpoint> {
    WebhookLayer::builder(secret()).build().unwrap().layer(inbox.endpoint())
}

async fn admit_to_empty(url: &str, concurrency: usize) -> f64 {
    admit(&open(url, 10).await, concurrency).await
}

/// Delivers new events for some time.
pub(crate) async fn admit(inbox: &Inbox, concurrency: usize) -> f64 {
    let receiver = receiver(inbox);
    let worker = || {
        let receiver = receiver.clone();
        move |start: Instant| async move {
            let mut count = 0;
            while start.elapsed() < DURATION {
                deliver(receiver.clone(), delivery().1).await;
                count += 1;
            }
            count
        }
    };
    closed_loop((0..concurrency).map(|_| worker()).collect()).await
}

/// Adds rows in this state: due since long, or kept for long.
pub(crate) async fn fill(url: &str, state: i32, count: i64) {
    const POSTGRES: &str = "INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
                            SELECT 'roomz', uuid_send(gen_random_uuid()), CAST(CAST($3 AS BIGINT) AS SMALLINT), $3 * 2000000000000 + i, i, '', 0, 0, $1 \
                            FROM generate_series(1, $2) AS i";
    const SQLITE: &str = "WITH RECURSIVE series (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series LIMIT $2) \
                          INSERT INTO roomz_inbox (namespace, event_id, state, due, received, owner, attempt, earlier, body) \
                          SELECT 'roomz', randomblob(16), $3, $3 * 2000000000000 + i, i, x'', 0, 0, $1 FROM series";
    let (body, state) = (TestEvent::busy().body(), i64::from(state));
    if url.starts_with("sqlite") {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let _ =
            sqlx::query(SQLITE).bind(body).bind(count).bind(state).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let _ =
            sqlx::query(POSTGRES).bind(body).bind(count).bind(state).execute(&mut connection).await.unwrap();
        execute(url, "CHECKPOINT").await;
    }
}

/// Runs a worker for some time, or until it has handled this many. Returns the events per second.
pub(crate) async fn done(inbox: &Inbox, concurrency: usize, has_transaction: bool, backlog: i64) -> f64 {
    let open = async || {
        let open = inbox.stats().await.unwrap();
        i64::try_from(open.waiting + open.running + open.dead).unwrap()
    };
    let (before, handled) = (open().await, Arc::new(AtomicI64::new(0)));
    let handler = {
        let handled = Arc::clone(&handled);
        service_fn(move |job: Job<WorkspacePresenceChanged>| {
            let handled = Arc::clone(&handled);
            async move {
                if has_transaction {
                    handle(job).await?;
                }
                let _ = handled.fetch_add(1, Ordering::Relaxed);
                Ok::<_, BoxError>(())
            }
        })
    };
    let start = Instant::now();
    let worker = inbox.worker(handler).with_concurrency(concurrency).start();
    while start.elapsed() < DURATION && handled.load(Ordering::Relaxed) < backlog {
        sleep(DURATION / 1_000).await;
    }
    worker.shutdown(DURATION * 20).await;
    let elapsed = start.elapsed().as_secs_f64();
    (before - open().await) as f64 / elapsed
}

/// Starts a worker whose handler does nothing, or inserts one row in its transaction.
pub(crate) fn start(inbox: &Inbox, has_transaction: bool, concurrency: usize) -> Worker {
    if has_transaction {
        inbox.worker(service_fn(handle)).with_concurrency(concurrency).start()
    } else {
        let handler = service_fn(async |_: Job<WorkspacePresenceChanged>| Ok::<_, BoxError>(()));
        inbox.worker(handler).with_concurrency(concurrency).start()
    }
}

/// Inserts one row, as the example does.
async fn handle(mut job: Job<WorkspacePresenceChanged>) -> Result<(), BoxError> {
    const SQL: &str =
        "INSERT INTO presence_log (event_id, workspace_id, status, handled_at) VALUES ($1, $2, $3, $4)";
    let event = job.event();
    let id = event.id.to_string();
    let (workspace, status) =
        (event.data.workspace_id.to_string(), event.data.presence_status.as_str().to_owned());
    let time = event.timestamp.as_millisecond();
    if job.is_postgres() {
        let insert = sqlx::query(SQL).bind(id).bind(workspace).bind(status).bind(time);
        let _ = insert.execute(job.postgres().await?).await?;
    } else {
        let insert = sqlx::query(SQL).bind(id).bind(workspace).bind(status).bind(time);
        let _ = insert.execute(job.sqlite().await?).await?;
    }
    Ok(())
}
