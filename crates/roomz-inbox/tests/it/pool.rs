//! Pools of an application.

use std::io;
use std::sync::{Arc, Mutex};

use crate::support::{POLL, TestDatabase, WAIT, deliver, deliver_new, gated_worker, wait_for, write_effect};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use roomz_tests::Server;
use roomz_webhook::testing::TestEvent;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use tower::service_fn;

const CANARY: &str = "canary-8f1d";

/// The connections of the application were returned inside a transaction. An event with a 202 is durable, and
/// what the application did not commit is not.
macro_rules! leave_transactions_open {
    ($database:expr, $pool:expr, $connections:literal, $texts:expr) => {{
        let inbox = Inbox::connect($pool.clone()).await.unwrap();
        $database.create_effects().await;
        for (round, text) in (1..).zip($texts) {
            let mut connections = Vec::new();
            for _ in 0..$connections {
                connections.push($pool.acquire().await.unwrap());
            }
            for mut connection in connections {
                // One of the texts fails.
                let _ = sqlx::raw_sql(text).execute(&mut *connection).await;
            }
            deliver_new(&inbox).await;
            assert_eq!($database.number("SELECT count(*) FROM roomz_inbox").await, round, "{text}");
            assert!($database.effects().await.is_empty(), "{text}");
        }
    }};
}

const BEGIN_AND_WRITE: &str = "BEGIN; INSERT INTO effects (event_id, attempt) VALUES ('', 1)";

#[tokio::test(flavor = "multi_thread")]
async fn accepted_event_is_durable_on_postgres_pool_in_transaction() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let pool = PgPoolOptions::new().max_connections(2).connect(&database.url).await.unwrap();
    let serializable = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1";
    let aborted = "BEGIN; SELECT 1 / 0";
    leave_transactions_open!(
        database,
        pool,
        2,
        ["BEGIN", "BEGIN; SELECT 1", serializable, aborted, BEGIN_AND_WRITE]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_event_is_durable_on_sqlite_pool_in_transaction() {
    let database = TestDatabase::sqlite();
    drop(Inbox::connect(&database.url).await.unwrap());
    let pool = SqlitePoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    leave_transactions_open!(database, pool, 1, ["BEGIN", "BEGIN IMMEDIATE", BEGIN_AND_WRITE]);
}

/// A handler begins its transaction on a connection that was left inside another one, or with other settings.
/// In the other transaction, the commit would be untrue.
macro_rules! handle_on_left_connections {
    ($database:expr, $pool:expr, $texts:expr) => {{
        let inbox = Inbox::connect($pool.clone()).await.unwrap();
        $database.create_effects().await;
        let (worker, mut calls) = gated_worker(&inbox);
        for (round, text) in (1..).zip($texts) {
            let event = deliver_new(&inbox).await;
            let call = calls.next().await;
            let mut connections = Vec::new();
            while let Some(connection) = $pool.try_acquire() {
                connections.push(connection);
            }
            for mut connection in connections {
                let _ = sqlx::raw_sql(text).execute(&mut *connection).await;
            }
            call.succeed();
            wait_for(&inbox, &event, InboxState::Done).await;
            let effects = $database.number("SELECT count(*) FROM effects").await;
            assert_eq!(effects, round, "{text}");
            let written = $database.number("SELECT count(*) FROM effects WHERE event_id = ''").await;
            assert_eq!(written, 0, "{text}");
        }
        worker.shutdown(WAIT).await;
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_commits_on_any_left_connection_of_postgres() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let pool = PgPoolOptions::new().max_connections(4).connect(&database.url).await.unwrap();
    let texts = [
        "BEGIN",
        "BEGIN; SELECT 1",
        "BEGIN; SAVEPOINT a",
        "BEGIN; SELECT 1 / 0",
        BEGIN_AND_WRITE,
        "SET search_path = other",
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ];
    handle_on_left_connections!(database, pool, texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_commits_on_any_left_connection_of_sqlite() {
    let database = TestDatabase::sqlite();
    drop(Inbox::connect(&database.url).await.unwrap());
    let pool = SqlitePoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    let texts = ["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT a", BEGIN_AND_WRITE, "PRAGMA query_only = 1"];
    handle_on_left_connections!(database, pool, texts);
}

/// The handler changed its session, and the next handler gets the same connection.
#[tokio::test(flavor = "multi_thread")]
async fn handler_settings_do_not_reach_the_next() {
    let Some(database) = TestDatabase::postgres().await else { return };
    database.create_effects().await;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let handler = service_fn(async |mut job: Job| {
        write_effect(&mut job).await?;
        sqlx::raw_sql("SET search_path = other").execute(job.postgres().await?).await?;
        sqlx::raw_sql("SET LOCAL search_path = public").execute(job.postgres().await?).await?;
        Ok::<_, BoxError>(())
    });
    let worker = inbox.worker(handler).with_concurrency(1).with_poll_interval(POLL).start();
    for _ in 0..4 {
        let event = deliver_new(&inbox).await;
        assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 1);
    }
    worker.shutdown(WAIT).await;
}

/// A commit of the aborted transaction would return `Ok` and store nothing.
#[tokio::test(flavor = "multi_thread")]
async fn ignored_error_in_transaction_fails_attempt() {
    let Some(database) = TestDatabase::postgres().await else { return };
    database.create_effects().await;
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = deliver_new(&inbox).await;
    let handler = service_fn(async |mut job: Job| {
        write_effect(&mut job).await?;
        if job.attempt() == 1 {
            let _ = sqlx::raw_sql("SELECT 1 / 0").execute(job.postgres().await?).await;
        }
        Ok::<_, BoxError>(())
    });
    let worker = inbox.worker(handler).with_backoff(POLL, POLL).with_poll_interval(POLL).start();
    assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 2);
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of this process at TRACE, and the log of the server, which has the text of each failed statement.
#[tokio::test]
async fn pool_logs_no_body_and_no_error() {
    const REJECT: &str = "CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'rejected'; END $$; \
                          CREATE TRIGGER reject BEFORE INSERT ON roomz_inbox FOR EACH ROW EXECUTE FUNCTION reject()";
    let Some(server) = Server::postgres_or_skip(&["logging_collector=on"]) else { return };
    let (log, database) = (Log::default(), TestDatabase::postgres_at(&server.postgres_url()).await);
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads, because `tracing` caches per process which call sites are enabled.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let pool = PgPool::connect(&database.url).await.unwrap();
    let inbox = Inbox::connect(pool.clone()).await.unwrap();
    database.create_effects().await;

    let event = TestEvent::presence(CANARY);
    assert_eq!(deliver(&inbox, &event).await, 202);
    database.execute(REJECT).await;
    assert_eq!(deliver(&inbox, &TestEvent::presence(CANARY)).await, 503);
    database
        .execute(
            "DROP TRIGGER reject ON roomz_inbox; CREATE TRIGGER reject BEFORE UPDATE ON roomz_inbox \
             FOR EACH ROW WHEN (NEW.error IS NOT NULL) EXECUTE FUNCTION reject()",
        )
        .await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.fail(CANARY);
    // Both statements failed.
    let read = "SELECT pg_read_file(pg_current_logfile())";
    let start = std::time::Instant::now();
    let of_server = loop {
        let text: String = sqlx::query_scalar(read).fetch_one(&pool).await.unwrap();
        if text.matches("ERROR:  rejected").count() >= 2 {
            break text;
        }
        assert!(start.elapsed() < WAIT, "{text}");
        tokio::time::sleep(POLL).await;
    };
    database.execute("DROP TRIGGER reject ON roomz_inbox").await;
    worker.shutdown(WAIT).await;
    let of_process = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let hexadecimal: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    for text in [&of_server, &of_process] {
        assert!(text.contains("INSERT INTO roomz_inbox"), "{text}");
        assert!(text.contains("UPDATE roomz_inbox"), "{text}");
        assert!(!text.contains(&hexadecimal), "{text}");
    }
    assert!(!of_server.contains(CANARY), "{of_server}");
}
