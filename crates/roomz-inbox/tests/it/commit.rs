//! The commit of a handler's transaction, which completes its event.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    POLL, TestDatabase, WAIT, deliver, deliver_new, deliver_until, key, on_both, wait_for, write_effect,
};
use roomz_inbox::{BoxError, Inbox, InboxState, Job, WorkspacePresenceChanged};
use roomz_webhook::testing::TestEvent;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::sync::Semaphore;
use tower::{Service, service_fn};

on_both! {
    deferred_error_fails_alone
    slow_transaction_delays_no_completion
    next_handler_gets_clean_connection
    forgotten_savepoint_ends_with_transaction
    ended_transaction_fails_attempt
}

const EVENTS: usize = 10;

/// What one handler wrote cannot be committed.
async fn deferred_error_fails_alone(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    database
        .execute(
            "CREATE TABLE desks (id TEXT PRIMARY KEY); \
             CREATE TABLE visits (desk TEXT REFERENCES desks (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
    let bad = TestEvent::presence("bad");
    assert_eq!(deliver(&inbox, &bad).await, 202);
    let mut events = Vec::new();
    for _ in 0..EVENTS {
        events.push(deliver_new(&inbox).await);
    }
    let handler = service_fn(async |mut job: Job<WorkspacePresenceChanged>| {
        write_effect(&mut job).await?;
        if job.event().data.presence_status.as_str() == "bad" {
            let insert = "INSERT INTO visits VALUES ('missing')";
            if job.is_postgres() {
                sqlx::query(insert).execute(job.postgres().await?).await?;
            } else {
                sqlx::query(insert).execute(job.sqlite().await?).await?;
            }
        }
        Ok::<_, BoxError>(())
    });
    let worker = inbox.worker(handler).with_max_attempts(2).with_backoff(POLL, POLL).start();
    for event in &events {
        assert_eq!(wait_for(&inbox, event, InboxState::Done).await.attempts, 1);
    }
    let dead = wait_for(&inbox, &bad, InboxState::Dead).await;
    assert!(dead.error.unwrap().starts_with("the transaction of the handler failed: "));
    assert_eq!(database.effects().await.len(), EVENTS);
    worker.shutdown(WAIT).await;
}

/// A handler, which waits to write until another call of it ends, and then keeps its own transaction open.
/// Returns who has written, and what ends it, too.
pub(crate) fn slow_and_fast() -> (
    impl Service<Job<WorkspacePresenceChanged>, Response = (), Error = BoxError, Future: Send + 'static>
    + Clone
    + Send
    + 'static,
    Arc<Semaphore>,
    Arc<Semaphore>,
) {
    let begin = Arc::new(Semaphore::new(0));
    let (written, end) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let state = (begin, Arc::clone(&written), Arc::clone(&end));
    let handler = service_fn(move |mut job: Job<WorkspacePresenceChanged>| {
        let (begin, written, end) = state.clone();
        async move {
            if job.event().data.presence_status.as_str() == "fast" {
                write_effect(&mut job).await?;
                begin.add_permits(1);
            } else {
                begin.acquire().await?.forget();
                write_effect(&mut job).await?;
                written.add_permits(1);
                end.acquire().await?.forget();
            }
            Ok::<_, BoxError>(())
        }
    });
    (handler, written, end)
}

/// The completion waits for no other handler.
async fn slow_transaction_delays_no_completion(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let (slow, fast) = (TestEvent::presence("slow"), TestEvent::presence("fast"));
    for event in [&slow, &fast] {
        assert_eq!(deliver(&inbox, event).await, 202);
    }
    let (handler, written, end) = slow_and_fast();
    let worker = inbox.worker(handler).start();
    written.acquire().await.unwrap().forget();
    let start = std::time::Instant::now();
    while database.number("SELECT count(*) FROM roomz_inbox WHERE state = 2").await == 0 {
        assert!(start.elapsed() < WAIT, "the completion waits for the slow handler");
        tokio::time::sleep(POLL).await;
    }
    assert_eq!(database.effects().await.len(), 1);
    end.add_permits(1);
    wait_for(&inbox, &slow, InboxState::Done).await;
    worker.shutdown(WAIT).await;
}

/// The state of sqlx is that of the server: `begin` is a savepoint in the transaction of the handler.
async fn next_handler_gets_clean_connection(database: TestDatabase) {
    let inbox = Inbox::builder(&database.url).with_max_connections(3).connect().await.unwrap();
    database.create_effects().await;
    let handler = service_fn(async |mut job: Job| {
        write_effect(&mut job).await?;
        let update = "UPDATE effects SET attempt = 100";
        if job.is_postgres() {
            let mut savepoint = job.postgres().await?.begin().await?;
            sqlx::query(update).execute(&mut *savepoint).await?;
        } else {
            let mut savepoint = job.sqlite().await?.begin().await?;
            sqlx::query(update).execute(&mut *savepoint).await?;
        }
        Ok::<_, BoxError>(())
    });
    let worker = inbox.worker(handler).with_poll_interval(POLL).start();
    for _ in 0..3 {
        let event = deliver_new(&inbox).await;
        assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 1);
    }
    worker.shutdown(WAIT).await;
    assert_eq!(database.effects().await, [1, 1, 1]);
    if !database.is_sqlite() {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
        while database.number(open).await > 0 {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// It is rolled back or committed with what the handler wrote, and the next handler gets no trace of it.
async fn forgotten_savepoint_ends_with_transaction(database: TestDatabase) {
    let inbox = Inbox::builder(&database.url).with_max_connections(2).connect().await.unwrap();
    database.create_effects().await;
    let handler = service_fn(async |mut job: Job| {
        for _ in 0..2 {
            if job.is_postgres() {
                std::mem::forget(job.postgres().await?.begin().await?);
            } else {
                std::mem::forget(job.sqlite().await?.begin().await?);
            }
        }
        write_effect(&mut job).await?;
        if job.attempt() == 1 { Err("fails".into()) } else { Ok::<_, BoxError>(()) }
    });
    let worker = inbox.worker(handler).with_poll_interval(POLL).with_backoff(POLL, POLL).start();
    for _ in 0..2 {
        let event = deliver_new(&inbox).await;
        assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 2);
    }
    assert_eq!(database.effects().await, [2, 2]);
    worker.shutdown(WAIT).await;
}

/// The handler ignores that a statement ended its transaction. Neither what it wrote before nor what it
/// writes later takes effect, and the event is not done, also on a pool of the application.
async fn ended_transaction_fails_attempt(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    database.execute("CREATE TABLE seen (id TEXT UNIQUE)").await;
    let of_pool = if database.is_sqlite() {
        let options = SqlitePoolOptions::new().max_connections(1);
        Inbox::connect(options.connect(&database.url).await.unwrap()).await
    } else {
        let options = PgPoolOptions::new().max_connections(4);
        Inbox::connect(options.connect(&database.url).await.unwrap()).await
    };
    let handler = service_fn(async |mut job: Job| {
        write_effect(&mut job).await?;
        let attempt = job.attempt();
        if attempt == 5 {
            return Ok::<_, BoxError>(());
        }
        if job.is_postgres() {
            let connection = job.postgres().await?;
            if attempt == 1 {
                sqlx::raw_sql("ROLLBACK").execute(connection).await?;
                return Ok(());
            }
            // sqlx rolls the whole transaction back.
            while attempt < 4 && tokio::time::timeout(Duration::ZERO, connection.begin()).await.is_ok() {}
            if attempt > 2 {
                sqlx::raw_sql("ROLLBACK; BEGIN").execute(connection).await?;
            }
        } else {
            let insert = "INSERT OR ROLLBACK INTO seen VALUES (''), ('')";
            assert!(sqlx::raw_sql(insert).execute(job.sqlite().await?).await.is_err());
            if attempt == 3 {
                std::mem::forget(job.sqlite().await?.begin().await?);
            } else if attempt == 4 {
                sqlx::raw_sql("SAVEPOINT a").execute(job.sqlite().await?).await?;
            }
        }
        let _ = write_effect(&mut job).await;
        // Sent, and no one waits for it.
        let _ = tokio::time::timeout(Duration::ZERO, write_effect(&mut job)).await;
        if attempt == 2 { Err("fails".into()) } else { Ok(()) }
    });
    for inbox in [inbox, of_pool.unwrap()] {
        let worker = inbox.worker(handler).with_poll_interval(POLL).with_backoff(POLL, POLL).start();
        let event = TestEvent::busy();
        deliver_until(&inbox, &event, &[202, 200]).await;
        assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 5);
        worker.shutdown(WAIT).await;
    }
    assert_eq!(database.effects().await, [5, 5]);
}

/// PostgreSQL plans the statements with statistics of a time when no event waited and none was dead, or of an
/// ANALYZE beside the transaction that inserted all events.
#[tokio::test(flavor = "multi_thread")]
async fn change_of_one_event_reads_no_others() {
    for (analyzed_beside, is_pool) in [(false, false), (true, false), (true, true)] {
        let Some(database) = TestDatabase::postgres().await else { return };
        let inbox = if is_pool {
            let options = PgPoolOptions::new().max_connections(4);
            Inbox::connect(options.connect(&database.url).await.unwrap()).await.unwrap()
        } else {
            Inbox::connect(&database.url).await.unwrap()
        };
        database.create_effects().await;
        let insert = |state: i64, from: i64| {
            format!(
                "INSERT INTO roomz_inbox SELECT '', decode(md5(CAST(i AS TEXT)), 'hex'), {state}, 4000000000000, 0, '', 1, 0, \
                 '', NULL FROM generate_series({from}, {from} + 9999) i"
            )
        };
        let (done, waiting, dead) = (insert(2, 0), insert(0, 10_000), insert(3, 20_000));
        database.execute("ALTER TABLE roomz_inbox SET (autovacuum_enabled = off)").await;
        if analyzed_beside {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            let inserts = format!("BEGIN; {done}; {waiting}; {dead}");
            connection.execute(sqlx::raw_sql(AssertSqlSafe(inserts))).await.unwrap();
            database.execute("ANALYZE roomz_inbox").await;
            connection.execute("COMMIT").await.unwrap();
        } else {
            database.execute(&format!("{done}; ANALYZE roomz_inbox; {waiting}; {dead}")).await;
        }
        // The counts are those of the session, and other statements of the inbox read all open events.
        database
            .execute(
                "CREATE FUNCTION check_reads() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE reads BIGINT; BEGIN \
                 SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0) INTO reads FROM pg_stat_xact_user_tables WHERE relid = TG_RELID; \
                 IF TG_WHEN = 'AFTER' AND reads - CAST(current_setting('test.reads') AS BIGINT) > 1000 THEN \
                   RAISE 'reads other events'; END IF; \
                 PERFORM set_config('test.reads', CAST(reads AS TEXT), false); RETURN NULL; END $$; \
                 CREATE TRIGGER before_change BEFORE UPDATE ON roomz_inbox EXECUTE FUNCTION check_reads(); \
                 CREATE TRIGGER after_change AFTER UPDATE ON roomz_inbox EXECUTE FUNCTION check_reads()",
            )
            .await;
        // A failure is another statement.
        let handler = service_fn(async |mut job: Job| {
            write_effect(&mut job).await?;
            if job.attempt() == 1 { Err(BoxError::from("fails")) } else { Ok(()) }
        });
        let worker = inbox.worker(handler).with_max_attempts(3).with_backoff(POLL, POLL).start();
        let event = deliver_new(&inbox).await;
        assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 2);
        worker.shutdown(WAIT).await;
        let die = "UPDATE roomz_inbox SET state = 3 WHERE namespace <> ''";
        let die = format!(
            "ALTER TABLE roomz_inbox DISABLE TRIGGER ALL; {die}; ALTER TABLE roomz_inbox ENABLE TRIGGER ALL"
        );
        database.execute(&die).await;
        assert!(inbox.retry(&key(&event)).await.unwrap());
        database.execute(&die).await;
        assert!(inbox.discard(&key(&event)).await.unwrap());
    }
}

/// SQLite. The next handler on the connection has the commit hook of the inbox.
#[tokio::test(flavor = "multi_thread")]
async fn commit_hook_of_handler_ends_with_its_transaction() {
    let database = TestDatabase::sqlite();
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    database.execute("CREATE TABLE seen (id TEXT UNIQUE)").await;
    let handler = service_fn(async |mut job: Job<WorkspacePresenceChanged>| {
        match job.event().data.presence_status.as_str() {
            "removed" => job.sqlite().await?.lock_handle().await?.remove_commit_hook(),
            "replaced" => job.sqlite().await?.lock_handle().await?.set_commit_hook(|| true),
            _ => {
                let insert = "INSERT OR ROLLBACK INTO seen VALUES (''), ('')";
                assert!(sqlx::raw_sql(insert).execute(job.sqlite().await?).await.is_err());
                let _ = write_effect(&mut job).await;
                return Err("fails".into());
            }
        }
        Ok::<_, BoxError>(())
    });
    let worker = inbox.worker(handler).with_max_attempts(1).with_poll_interval(POLL).start();
    for (status, state) in [
        ("removed", InboxState::Done),
        ("ended", InboxState::Dead),
        ("replaced", InboxState::Done),
        ("ended", InboxState::Dead),
    ] {
        let event = TestEvent::presence(status);
        assert_eq!(deliver(&inbox, &event).await, 202);
        wait_for(&inbox, &event, state).await;
        assert!(database.effects().await.is_empty(), "{status}");
    }
    worker.shutdown(WAIT).await;
}

/// SQLite. The commit of a handler waits for no sync to disk, so a failure of the power can undo the last
/// ones: each with its completion, and no event is lost.
#[tokio::test(flavor = "multi_thread")]
async fn power_failure_undoes_effect_with_completion() {
    let database = TestDatabase::sqlite();
    let file = database.url.strip_prefix("sqlite://").unwrap();
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let mut events = Vec::new();
    for _ in 0..EVENTS {
        events.push(deliver_new(&inbox).await);
    }
    let log_len = || std::fs::metadata(format!("{file}-wal")).unwrap().len();
    let admitted = log_len();
    let handler = service_fn(async |mut job: Job| write_effect(&mut job).await);
    let worker = inbox.worker(handler).start();
    for event in &events {
        wait_for(&inbox, event, InboxState::Done).await;
    }
    worker.shutdown(WAIT).await;
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("inbox.db").display().to_string();
    let mut found = Vec::new();
    // A frame of the log is a page and 24 bytes.
    for len in (admitted..=log_len()).step_by(4_096 + 24) {
        let _ = std::fs::remove_file(format!("{copy}-shm"));
        std::fs::copy(file, &copy).unwrap();
        std::fs::copy(format!("{file}-wal"), format!("{copy}-wal")).unwrap();
        std::fs::File::options().write(true).open(format!("{copy}-wal")).unwrap().set_len(len).unwrap();
        let mut connection = SqliteConnection::connect(&copy).await.unwrap();
        let counts = "SELECT (SELECT count(*) FROM roomz_inbox), \
                      (SELECT count(*) FROM roomz_inbox WHERE state = 2), (SELECT count(*) FROM effects)";
        let (all, done, effects): (i64, i64, i64) =
            sqlx::query_as(counts).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert_eq!((all, done), (EVENTS as i64, effects), "{found:?}");
        found.push(done);
    }
    found.dedup();
    assert!(found.len() > 1 && found.last() == Some(&(EVENTS as i64)), "{found:?}");
}
