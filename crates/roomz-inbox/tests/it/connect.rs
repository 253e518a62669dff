//! How connecting fails, existing pools, and poolers.

use std::time::Duration;

use crate::support::{Calls, TestDatabase, WAIT, deliver, deliver_new, gated_worker, on_both, wait_for};
use roomz_inbox::{ConnectErrorKind, Database, Inbox, InboxState};
use roomz_tests::Server;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

on_both! {
    missing_tables_are_an_error
    dropped_table_is_created_again
    newer_tables_are_accepted_and_other_contents_rejected
    instances_connect_at_once
    any_timeout_is_accepted
}

/// Returns the kind of the error, and everything that it prints.
async fn connect_error(database: impl Into<Database>, with_migrations: bool) -> (ConnectErrorKind, String) {
    let error = Inbox::builder(database).with_migrations(with_migrations).connect().await.unwrap_err();
    let source = std::error::Error::source(&error).map(ToString::to_string);
    (error.kind(), format!("{error} {source:?}"))
}

/// Delivers events, and handles them in their transactions.
async fn assert_works(database: impl Into<Database>, effects: &TestDatabase) {
    let inbox = Inbox::connect(database).await.unwrap();
    effects.create_effects().await;
    let (worker, mut calls) = gated_worker(&inbox);
    for _ in 0..20 {
        let event = deliver_new(&inbox).await;
        assert_eq!(deliver(&inbox, &event).await, 200);
        calls.next().await.succeed();
        wait_for(&inbox, &event, InboxState::Done).await;
        assert_eq!(deliver(&inbox, &event).await, 200);
    }
    let failed = deliver_new(&inbox).await;
    calls.next().await.fail("broken");
    assert_eq!(wait_for(&inbox, &failed, InboxState::Waiting).await.error.unwrap(), "broken");
    effects.make_due().await;
    calls.next().await.succeed();
    wait_for(&inbox, &failed, InboxState::Done).await;
    let stats = inbox.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.running, stats.dead), (0, 0, 0));
    worker.shutdown(WAIT).await;
    assert_eq!(effects.effects().await.len(), 21);
}

async fn missing_tables_are_an_error(database: TestDatabase) {
    if database.is_sqlite() {
        std::fs::write(database.url.strip_prefix("sqlite://").unwrap(), "").unwrap();
    }
    let (kind, text) = connect_error(&database.url, false).await;
    assert_eq!(kind, ConnectErrorKind::InvalidSchema, "{text}");
    assert!(text.contains("with_migrations(true)"), "{text}");
    // With the tables of an older version.
    drop(roomz_sql::SqlStore::connect(&database.url).await.unwrap());
    database.execute("DROP TABLE roomz_inbox; DELETE FROM roomz_migrations WHERE version = 3").await;
    let (kind, text) = connect_error(&database.url, false).await;
    assert_eq!(kind, ConnectErrorKind::InvalidSchema, "{text}");
    assert!(text.contains("migration 3"), "{text}");
    Inbox::connect(&database.url).await.unwrap();
    Inbox::builder(&database.url).with_migrations(false).connect().await.unwrap();
}

async fn dropped_table_is_created_again(database: TestDatabase) {
    drop(Inbox::connect(&database.url).await.unwrap());
    database.execute("DROP TABLE roomz_inbox").await;
    let (kind, text) = connect_error(&database.url, false).await;
    assert_eq!(kind, ConnectErrorKind::InvalidSchema, "{text}");
    assert!(text.contains("roomz_inbox"), "{text}");
    assert_works(&database.url, &database).await;
    // A table with other columns is not replaced.
    database.execute("DROP TABLE roomz_inbox; CREATE TABLE roomz_inbox (namespace TEXT, event_id TEXT, state INTEGER, due BIGINT)").await;
    let (kind, text) = connect_error(&database.url, true).await;
    assert_eq!(kind, ConnectErrorKind::InvalidSchema, "{text}");
}

async fn newer_tables_are_accepted_and_other_contents_rejected(database: TestDatabase) {
    drop(Inbox::connect(&database.url).await.unwrap());
    database.execute("INSERT INTO roomz_migrations (version) VALUES (99)").await;
    drop(Inbox::connect(&database.url).await.unwrap());
    database.execute("UPDATE roomz_migrations SET checksum = 'other' WHERE version = 3").await;
    let (kind, text) = connect_error(&database.url, true).await;
    assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
    assert!(text.contains("migration 3"), "{text}");
}

/// Several instances create the tables of a new database.
async fn instances_connect_at_once(database: TestDatabase) {
    let mut connecting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let builder = Inbox::builder(&database.url).with_connect_timeout(WAIT);
        connecting.spawn(async move { builder.connect().await.unwrap() });
    }
    for inbox in connecting.join_all().await {
        deliver_new(&inbox).await;
    }
    assert_eq!(database.number("SELECT count(*) FROM roomz_inbox").await, 8);
}

async fn any_timeout_is_accepted(database: TestDatabase) {
    let builder = || Inbox::builder(&database.url);
    deliver_new(&builder().with_connect_timeout(Duration::MAX).connect().await.unwrap()).await;
    // It is far too short, but no panic.
    drop(builder().with_connect_timeout(Duration::ZERO).connect().await);
    deliver_new(&builder().with_max_connections(0).connect().await.unwrap()).await;
}

#[tokio::test]
async fn invalid_urls_and_files_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    std::fs::write(directory.path().join("text"), "this text is not an SQLite database".repeat(99)).unwrap();
    for (url, kind) in [
        (format!("sqlite://{path}/missing/inbox.db"), ConnectErrorKind::InvalidFile),
        (format!("sqlite://{path}/missing.db?mode=rw"), ConnectErrorKind::InvalidFile),
        (format!("sqlite://{path}/text"), ConnectErrorKind::InvalidFile),
        (format!("sqlite://{path}"), ConnectErrorKind::InvalidFile),
        ("sqlite::memory:".to_owned(), ConnectErrorKind::InvalidUrl),
        ("mysql://canary@127.0.0.1/floors".to_owned(), ConnectErrorKind::InvalidUrl),
        ("floors".to_owned(), ConnectErrorKind::InvalidUrl),
        ("postgres://postgres:canary@127.0.0.1:1/floors".to_owned(), ConnectErrorKind::Unreachable),
    ] {
        let (found, text) = connect_error(&url, true).await;
        assert_eq!(found, kind, "{url}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn read_only_file_is_an_error() {
    let database = TestDatabase::sqlite();
    drop(Inbox::connect(&database.url).await.unwrap());
    let (kind, text) = connect_error(format!("{}?mode=ro", database.url), true).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
}

#[tokio::test]
async fn missing_permission_is_an_error() {
    let Some(database) = TestDatabase::postgres().await else { return };
    drop(Inbox::connect(&database.url).await.unwrap());
    let mut admin = PgConnection::connect(&database.url).await.unwrap();
    let user = format!("user_{:032x}", rand::random::<u128>());
    let grant = format!(
        "CREATE ROLE {user} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON roomz_claims, roomz_presence TO {user};
         GRANT SELECT ON roomz_migrations TO {user}; GRANT SELECT, INSERT, UPDATE ON roomz_inbox TO {user}"
    );
    admin.execute(AssertSqlSafe(grant)).await.unwrap();
    let as_user = database.url.replace("postgres@", &format!("{user}@"));
    let (kind, text) = connect_error(&as_user, true).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
    assert!(text.contains("roomz_inbox"), "{text}");
    admin.execute(AssertSqlSafe(format!("GRANT DELETE ON roomz_inbox TO {user}"))).await.unwrap();
    Inbox::connect(&as_user).await.unwrap();
    let read_only = format!("{}?options=-c%20default_transaction_read_only%3Don", database.url);
    let (kind, text) = connect_error(read_only, true).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn works_through_pgbouncer() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    for pool_mode in ["transaction", "session"] {
        let Some(pgbouncer) = Server::pgbouncer_or_skip(&server, pool_mode) else { return };
        let database = TestDatabase::postgres_at(&server.postgres_url()).await;
        let (_, name) = database.url.rsplit_once('/').unwrap();
        let url = format!("postgres://postgres@{}/{name}", pgbouncer.address());
        assert_works(&url, &database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn works_on_postgres_pool() {
    let Some(database) = TestDatabase::postgres().await else { return };
    // The isolation level of the application is not that of the inbox.
    let url = format!("{}?options=-c%20default_transaction_isolation%3Dserializable", database.url);
    let pool = PgPoolOptions::new().max_connections(3).connect(&url).await.unwrap();
    assert_works(pool, &database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_on_sqlite_pool() {
    let database = TestDatabase::sqlite();
    let path = database.url.strip_prefix("sqlite://").unwrap();
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    assert_works(pool, &database).await;
}

/// The documentation of the builders names them.
#[tokio::test(flavor = "multi_thread")]
async fn settings_have_documented_defaults_and_limits() {
    let builder = |connections| Inbox::builder("sqlite::memory:").with_max_connections(connections);
    let bounded = builder(0).with_response_timeout(Duration::MAX).with_connect_timeout(Duration::ZERO);
    let text = format!("{bounded:?}");
    assert!(text.contains("connect_timeout: 1ms, response_timeout: 3600s,"), "{text}");
    for (builder, handlers) in
        [(Inbox::builder("sqlite::memory:"), 11), (builder(0), 1), (builder(3), 1), (builder(4), 2)]
    {
        let text = format!("{builder:?}");
        for setting in
            [&format!("handler_connections: {handlers},"), "max_open: 1000000,", "retention: 604800s"]
        {
            assert!(text.contains(setting), "{text}");
        }
    }

    let database = TestDatabase::sqlite();
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let worker = || inbox.worker(Calls::new().0);
    let bounded = |count: u32, duration| {
        worker()
            .with_concurrency(count as usize)
            .with_lease(duration)
            .with_max_attempts(count)
            .with_backoff(duration, duration)
            .with_poll_interval(duration)
    };
    for (worker, settings) in [
        (
            worker(),
            "concurrency: 10, lease: 60s, handler_timeout: 300s, max_attempts: 25, max_age: 259200s, \
             backoff: Backoff { min: 1s, max: 3600s }, poll_interval: 500ms, dead_letter_retention: 2592000s",
        ),
        (
            bounded(0, Duration::ZERO),
            "concurrency: 1, lease: 100ms, handler_timeout: 300s, max_attempts: 1, max_age: 259200s, \
             backoff: Backoff { min: 0ns, max: 0ns }, poll_interval: 10ms, dead_letter_retention: 2592000s",
        ),
        (
            bounded(5_000, Duration::MAX),
            "concurrency: 1000, lease: 18446744073709551615.999999999s, handler_timeout: 300s, max_attempts: 5000, \
             max_age: 259200s, backoff: Backoff { min: 31536000s, max: 31536000s }, poll_interval: 31536000s, \
             dead_letter_retention: 2592000s",
        ),
    ] {
        let text = format!("{worker:?}");
        assert_eq!(text, format!("WorkerBuilder {{ settings: WorkerSettings {{ {settings} }}, .. }}"));
    }
}
