//! Plans and dead rows of PostgreSQL: what a statement of the worker reads.

use crate::support::{POLL, TestDatabase, WAIT, deliver_new, deliver_until, gated_worker, wait_for};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use roomz_tests::Server;
use roomz_webhook::testing::TestEvent;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tower::service_fn;

/// PostgreSQL keeps no plan that was made while the table was small.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_scans_the_table() {
    let Some(server) = Server::postgres_or_skip(&["autovacuum=off"]) else { return };
    let database = TestDatabase::postgres_at(&server.postgres_url()).await;
    let inbox = Inbox::builder(&database.url).with_max_connections(2).connect().await.unwrap();
    // A small table, whose statistics say so.
    for _ in 0..20 {
        deliver_new(&inbox).await;
    }
    database.execute("VACUUM ANALYZE roomz_inbox").await;
    inbox.stats().await.unwrap();
    let worker = inbox.worker(service_fn(async |job: Job| {
        drop(job);
        Ok::<_, BoxError>(())
    }));
    let worker = worker.with_concurrency(1).with_poll_interval(POLL).start();
    let mut last = None;
    for _ in 0..20 {
        last = Some(deliver_new(&inbox).await);
    }
    wait_for(&inbox, &last.unwrap(), InboxState::Done).await;
    database
        .execute(
            "INSERT INTO roomz_inbox SELECT 'filled', CAST(md5(CAST(i AS TEXT)) AS BYTEA), 2, 1 << 40, 0, '', 1, 0, '', NULL
             FROM generate_series(1, 50000) i",
        )
        .await;
    let before = scanned_rows(&database).await;
    for _ in 0..20 {
        let event = deliver_new(&inbox).await;
        wait_for(&inbox, &event, InboxState::Done).await;
        inbox.stats().await.unwrap();
    }
    worker.shutdown(WAIT).await;
    // A session reports its statistics at its end, at the latest.
    drop(inbox);
    let scanned = scanned_rows(&database).await - before;
    assert!(scanned < 50_000, "{scanned} rows were read by scans of the table");
}

/// The rows that sessions have read by scans of the whole table. Waits until the sessions of the inbox have
/// ended.
async fn scanned_rows(database: &TestDatabase) -> i64 {
    let start = std::time::Instant::now();
    let others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'roomz' AND state <> 'idle'";
    while database.number(others).await > 0 {
        assert!(start.elapsed() < WAIT, "a session is still active");
        tokio::time::sleep(POLL).await;
    }
    database.number("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'roomz_inbox'").await
}

/// Another session holds an old snapshot, so that PostgreSQL keeps the index entries of all events that were
/// handled since then. The next events are found without reading those.
#[tokio::test(flavor = "multi_thread")]
async fn old_snapshot_does_not_slow_taking() {
    const HANDLED: i64 = 100_000;
    const EVENTS: i64 = 50;
    let Some(server) = Server::postgres_or_skip(&["autovacuum=off"]) else { return };
    let database = TestDatabase::postgres_at(&server.postgres_url()).await;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut snapshot = other.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    snapshot.execute("SELECT count(*) FROM roomz_inbox").await.unwrap();
    let now = "CAST(extract(epoch FROM now()) * 1000 AS BIGINT)";
    database
        .execute(format!(
            "INSERT INTO roomz_inbox SELECT 'old', CAST(md5(CAST(i AS TEXT)) AS BYTEA), 0, {now} - 60000 - i, 0, '', 1, 0, '', NULL
             FROM generate_series(1, {HANDLED}) i;
             UPDATE roomz_inbox SET state = 2, due = {now} + 600000000"
        ))
        .await;
    let read = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'roomz_inbox_open'";
    let before = database.number(read).await;
    let worker = inbox.worker(service_fn(async |job: Job| {
        drop(job);
        Ok::<_, BoxError>(())
    }));
    let worker = worker.with_poll_interval(POLL).start();
    for _ in 0..EVENTS {
        let event = deliver_new(&inbox).await;
        wait_for(&inbox, &event, InboxState::Done).await;
    }
    worker.shutdown(WAIT).await;
    drop(inbox);
    scanned_rows(&database).await;
    let read = database.number(read).await - before;
    // Some statements look for rows that may be left there: they take one part in 50 of the time.
    assert!(read < HANDLED * EVENTS / 3, "{read} index entries were read for {EVENTS} events");
}

/// Rows that were due earlier cannot be read in time. Events that arrive are handled nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn timeout_of_old_rows_stops_no_new_event() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let inbox = Inbox::connect(&database.url).await.unwrap();
    deliver_new(&inbox).await;
    database
        .execute(
            "UPDATE roomz_inbox SET due = 1000; ALTER TABLE roomz_inbox RENAME TO filled; CREATE VIEW roomz_inbox AS \
             SELECT * FROM filled WHERE due > 1000 OR pg_sleep(60) IS NULL",
        )
        .await;
    let (worker, mut calls) = gated_worker(&inbox);
    for _ in 0..3 {
        let event = TestEvent::busy();
        deliver_until(&inbox, &event, &[202, 200]).await;
        calls.next().await.skip();
        wait_for(&inbox, &event, InboxState::Done).await;
    }
    worker.shutdown(WAIT).await;
}
