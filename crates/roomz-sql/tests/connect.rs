//! How connecting fails, who makes the tables, and the pools of users.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::sync::Arc;
use std::time::Duration;

use roomz_sql::sqlx::sqlite::SqlitePoolOptions;
use roomz_sql::sqlx::{
    self, AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, SqlitePool,
};
use roomz_sql::{ConnectError, ConnectErrorKind, MIGRATIONS, SqlStore};
use roomz_tests::postgres_url;
use roomz_webhook::testing::StoreUnderTest;
use tokio::sync::Barrier;

const SHORT: Duration = Duration::from_millis(800);

async fn refused(url: &str) -> (ConnectErrorKind, String) {
    shown(&SqlStore::builder(url).with_connect_timeout(SHORT).connect().await.unwrap_err())
}

fn shown(error: &ConnectError) -> (ConnectErrorKind, String) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    (error.kind().clone(), format!("{error} {error:?} {source:?}"))
}

/// A database of its own on the server of all tests, as its URL.
async fn new_database() -> Option<String> {
    let url = postgres_url()?;
    let name = format!("test_{}", rand_name());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    connection.execute(create).await.unwrap();
    Some(format!("{}/{name}", url.rsplit_once('/').unwrap().0))
}

fn rand_name() -> String {
    format!("{:032x}", u128::from_be_bytes(roomz_webhook::store::Owner::random().to_bytes()))
}

fn file(directory: &tempfile::TempDir) -> String {
    format!("sqlite://{}/claims.db", directory.path().display())
}

#[tokio::test]
async fn a_wrong_url_is_an_error_that_does_not_repeat_it() {
    for url in [
        "postgres://canary:canary@127.0.0.1:port/floors",
        "postgres://canary@[/floors",
        "postgres://127.0.0.1/floors?sslpassword=canary:",
        "sqlite:",
        "sqlite://?mode=rwc",
        "sqlite::memory:",
        "sqlite:%3Amemory%3A",
        "sqlite:floors.db?mode=memory",
        "sqlite:floors.db?mode=canary",
    ] {
        let (kind, shown) = refused(url).await;
        assert_eq!(kind, ConnectErrorKind::Url, "{url}: {shown}");
        assert!(!shown.contains("canary:"), "{shown}");
    }
    for url in
        ["", "localhost", "canary:canary@127.0.0.1/floors", "mysql://canary@127.0.0.1", "redis://127.0.0.1"]
    {
        let (kind, shown) = refused(url).await;
        assert_eq!(kind, ConnectErrorKind::Scheme, "{url}: {shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_silent_server_are_errors_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().port();
    for port in [1, silent] {
        let (kind, shown) = refused(&format!("postgres://postgres:canary@127.0.0.1:{port}/floors")).await;
        assert_eq!(kind, ConnectErrorKind::Unreachable, "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_or_is_none_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("claims.db"),
        "no database, however long this text may be".repeat(99),
    )
    .unwrap();
    for url in [
        file(&directory),
        format!("sqlite://{}/missing/claims.db", directory.path().display()),
        format!("sqlite://{}/missing.db?mode=rw", directory.path().display()),
        format!("sqlite://{}", directory.path().display()),
    ] {
        let (kind, shown) = refused(&url).await;
        assert_eq!(kind, ConnectErrorKind::File, "{url}: {shown}");
    }
}

#[tokio::test]
async fn a_refused_login_is_an_error_that_says_so() {
    let Some(url) = new_database().await else { return };
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let user = format!("user_{}", rand_name());
    let create = format!("CREATE ROLE {user} NOLOGIN");
    admin.execute(AssertSqlSafe(create)).await.unwrap();
    let (_, host) = url.split_once('@').unwrap();
    for url in [
        format!("postgres://{user}:canary@{host}"),
        format!("postgres://nobody_{user}:canary@{host}"),
        format!("{url}_missing"),
    ] {
        let (kind, shown) = refused(&url).await;
        assert_eq!(kind, ConnectErrorKind::Login, "{url}: {shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_write_is_an_error_that_says_what_is_needed() {
    let Some(url) = new_database().await else { return };
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let user = format!("user_{}", rand_name());
    let create = format!("CREATE ROLE {user} LOGIN");
    admin.execute(AssertSqlSafe(create)).await.unwrap();
    let (_, host) = url.split_once('@').unwrap();
    let as_user = format!("postgres://{user}@{host}");

    // May not create the table; then may not write to it; then may. Before PostgreSQL 15 everybody may create.
    admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let (kind, text) = refused(&as_user).await;
    assert_eq!(kind, ConnectErrorKind::Refused, "{text}");
    SqlStore::connect(url.as_str()).await.unwrap();
    let (kind, text) = refused(&as_user).await;
    assert_eq!(kind, ConnectErrorKind::Refused, "{text}");
    assert!(text.contains("INSERT"), "{text}");
    let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON roomz_claims TO {user}");
    admin.execute(AssertSqlSafe(grant)).await.unwrap();
    SqlStore::connect(as_user.as_str()).await.unwrap();

    let read_only = format!("{url}?options=-c%20default_transaction_read_only%3Don");
    let (kind, text) = refused(&read_only).await;
    assert_eq!(kind, ConnectErrorKind::Refused, "{text}");
}

#[tokio::test]
async fn a_missing_and_a_changed_table_are_errors_where_the_store_may_not_make_it() {
    let Some(url) = new_database().await else { return };
    let directory = tempfile::tempdir().unwrap();
    for url in [url, file(&directory)] {
        let error = SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap_err();
        let (kind, text) = shown(&error);
        assert_eq!(kind, ConnectErrorKind::Schema, "{text}");
        assert!(text.contains("roomz_claims"), "{text}");
    }
    let pool = SqlitePool::connect(&file(&directory)).await.unwrap();
    pool.execute("CREATE TABLE roomz_claims (namespace TEXT PRIMARY KEY)").await.unwrap();
    let (kind, text) = shown(&SqlStore::connect(pool).await.unwrap_err());
    assert_eq!(kind, ConnectErrorKind::Schema, "{text}");
}

#[tokio::test]
async fn the_migrations_are_plain_sql_that_another_tool_may_have_run() {
    let Some(url) = new_database().await else { return };
    let postgres = PgPool::connect(&url).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let sqlite = SqlitePool::connect(&format!("{}?mode=rwc", file(&directory))).await.unwrap();
    for script in MIGRATIONS {
        postgres.execute(*script).await.unwrap();
        sqlite.execute(*script).await.unwrap();
    }
    for builder in [SqlStore::builder(postgres), SqlStore::builder(sqlite)] {
        builder.with_migrations(false).connect().await.unwrap();
    }
    SqlStore::connect(url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_instances_that_start_at_once_make_one_table() {
    const INSTANCES: usize = 16;
    for round in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let postgres = if round % 2 == 0 { new_database().await } else { None };
        let url = postgres.unwrap_or_else(|| file(&directory));
        let barrier = Arc::new(Barrier::new(INSTANCES));
        let starts: Vec<_> = (0..INSTANCES)
            .map(|_| {
                let (url, barrier) = (url.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let builder = SqlStore::builder(url).with_connect_timeout(Duration::from_secs(20));
                    builder.with_max_connections(1).connect().await.map(drop)
                })
            })
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn what_the_store_ran_is_kept_apart_from_the_applications_migrations() {
    let directory = tempfile::tempdir().unwrap();
    let pool = SqlitePool::connect(&format!("{}?mode=rwc", file(&directory))).await.unwrap();
    pool.execute("CREATE TABLE _sqlx_migrations (version BIGINT)").await.unwrap();
    SqlStore::connect(pool.clone()).await.unwrap();
    let own: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&pool).await.unwrap();
    assert_eq!(own, 0);
    let ran: i64 =
        sqlx::query_scalar("SELECT count(*) FROM roomz_migrations").fetch_one(&pool).await.unwrap();
    assert_eq!(ran, i64::try_from(MIGRATIONS.len()).unwrap());
}

#[tokio::test]
async fn a_pool_of_stricter_transactions_is_refused_and_says_why() {
    let Some(url) = new_database().await else { return };
    for level in ["serializable", "repeatable%5C%20read"] {
        let url = format!("{url}?options=-c%20default_transaction_isolation%3D{level}");
        let pool = PgPool::connect(&url).await.unwrap();
        let (kind, text) = shown(&SqlStore::connect(pool).await.unwrap_err());
        assert_eq!(kind, ConnectErrorKind::Isolation, "{text}");
        assert!(text.contains("read committed"), "{text}");
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn encryption_without_its_feature_is_an_error_that_names_it() {
    let Some(url) = new_database().await else { return };
    let (kind, text) = refused(&format!("{url}?sslmode=require")).await;
    assert_eq!(kind, ConnectErrorKind::Tls, "{text}");
    assert!(text.contains("`tls`"), "{text}");
}

#[tokio::test]
async fn a_locked_table_is_an_error_in_time() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("LOCK TABLE roomz_claims").await.unwrap();
    let (kind, text) = refused(&url).await;
    assert_eq!(kind, ConnectErrorKind::Unreachable, "{text}");
    assert!(text.contains("lock"), "{text}");
}

#[tokio::test]
async fn a_table_that_was_dropped_without_its_history_is_an_error_that_names_both() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    admin.execute("DROP TABLE roomz_claims").await.unwrap();
    let (kind, text) = refused(&url).await;
    assert_eq!(kind, ConnectErrorKind::Schema, "{text}");
    admin.execute("DROP TABLE roomz_migrations").await.unwrap();
    SqlStore::connect(url.as_str()).await.unwrap();
}

#[tokio::test]
async fn no_time_is_too_short_or_too_long() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(file(&directory)), new_database().await].into_iter().flatten() {
        let builder = SqlStore::builder(url.as_str()).with_connect_timeout(Duration::MAX);
        builder.with_response_timeout(Duration::MAX).connect().await.unwrap();
        let _ = SqlStore::builder(url.as_str()).with_response_timeout(Duration::ZERO).connect().await;
    }
}

// A pool as users have it: default time-outs, tests before use, many connections.
roomz_webhook::store_contract!(on_a_plain_sqlite_pool, async {
    static FILE: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let url = format!("{}?mode=rwc", file(FILE.get_or_init(|| tempfile::tempdir().unwrap())));
    let pool = async || SqlitePoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    let (one, other) = (SqlStore::connect(pool().await).await, SqlStore::connect(pool().await).await);
    StoreUnderTest::new(one.unwrap()).with_peer(other.unwrap()).with_rounds(100)
});
