//! How the tables are created, compared and updated.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{connect_error, kind_and_text, new_database, sqlite_url};
use roomz_sql::{ConnectErrorKind, POSTGRES_MIGRATIONS, SQLITE_MIGRATIONS, SqlStore};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, SqlitePool};
use tokio::sync::Barrier;

#[tokio::test]
async fn reports_missing_and_changed_table() {
    let Some(url) = new_database().await else { return };
    let directory = tempfile::tempdir().unwrap();
    for url in [url, sqlite_url(&directory)] {
        let error = SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap_err();
        let (kind, text) = kind_and_text(&error);
        assert_eq!(kind, ConnectErrorKind::InvalidSchema, "{text}");
        assert!(text.contains("roomz_claims"), "{text}");
    }
    let pool = SqlitePool::connect(&sqlite_url(&directory)).await.unwrap();
    pool.execute("CREATE TABLE roomz_claims (namespace TEXT PRIMARY KEY)").await.unwrap();
    let (kind, text) = kind_and_text(&SqlStore::connect(pool).await.unwrap_err());
    assert_eq!(kind, ConnectErrorKind::InvalidSchema, "{text}");
}

#[tokio::test]
async fn accepts_tables_of_another_migration_tool() {
    let Some(url) = new_database().await else { return };
    let postgres = PgPool::connect(&url).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let sqlite = SqlitePool::connect(&format!("{}?mode=rwc", sqlite_url(&directory))).await.unwrap();
    // Each script can run again.
    for _ in 0..2 {
        for script in POSTGRES_MIGRATIONS {
            postgres.execute(*script).await.unwrap();
        }
        for script in SQLITE_MIGRATIONS {
            sqlite.execute(*script).await.unwrap();
        }
    }
    for builder in [SqlStore::builder(postgres), SqlStore::builder(sqlite)] {
        builder.with_migrations(false).connect().await.unwrap();
    }
    SqlStore::connect(url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_starts_create_one_table() {
    const INSTANCES: usize = 16;
    for round in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let postgres = if round % 2 == 0 { new_database().await } else { None };
        let url = postgres.unwrap_or_else(|| sqlite_url(&directory));
        let barrier = Arc::new(Barrier::new(INSTANCES));
        let starts: Vec<_> = (0..INSTANCES)
            .map(|_| {
                let (url, barrier) = (url.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let builder = SqlStore::builder(url).with_connect_timeout(Duration::from_secs(120));
                    // On SQLite, the time that a statement waits for the lock of another instance.
                    let builder = builder.with_response_timeout(Duration::from_secs(60));
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
async fn migration_history_is_separate() {
    let directory = tempfile::tempdir().unwrap();
    let pool = SqlitePool::connect(&format!("{}?mode=rwc", sqlite_url(&directory))).await.unwrap();
    pool.execute("CREATE TABLE _sqlx_migrations (version BIGINT)").await.unwrap();
    SqlStore::connect(pool.clone()).await.unwrap();
    let of_application: i64 =
        sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations").fetch_one(&pool).await.unwrap();
    assert_eq!(of_application, 0);
    let of_store: i64 =
        sqlx::query_scalar("SELECT count(*) FROM roomz_migrations").fetch_one(&pool).await.unwrap();
    assert_eq!(of_store, i64::try_from(SQLITE_MIGRATIONS.len()).unwrap());
}

#[tokio::test]
async fn creates_dropped_table_again() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), new_database().await].into_iter().flatten() {
        SqlStore::connect(url.as_str()).await.unwrap();
        for drop_table in ["DROP TABLE roomz_claims", "DROP TABLE roomz_presence"] {
            execute(&url, drop_table).await;
            let error = SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap_err();
            assert_eq!(error.kind(), ConnectErrorKind::InvalidSchema, "{error}");
            SqlStore::connect(url.as_str()).await.unwrap();
        }
    }
}

/// An instance that updates the tables of the first version keeps their claims.
#[tokio::test]
async fn updates_tables_of_older_version() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = (format!("{}?mode=rwc", sqlite_url(&directory)), SQLITE_MIGRATIONS[0]);
    let postgres = new_database().await.map(|url| (url, POSTGRES_MIGRATIONS[0]));
    for (url, first_script) in [Some(sqlite), postgres].into_iter().flatten() {
        execute(&url, first_script).await;
        let owner = "decode('00', 'hex')";
        let insert = format!(
            "INSERT INTO roomz_claims VALUES ('roomz', {owner}, 2, {owner}, {owner}, 1, 0, 9999999999999)"
        );
        let insert = if url.starts_with("sqlite") { insert.replace(owner, "x'00'") } else { insert };
        execute(&url, sqlx::AssertSqlSafe(insert)).await;
        let error = SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap_err();
        assert!(error.to_string().contains("migration 2"), "{error}");
        SqlStore::connect(url.as_str()).await.unwrap();
        assert_eq!(count(&url, "SELECT count(*) FROM roomz_claims").await, 1);
    }
}

/// The versions are compared even if the table works.
#[tokio::test]
async fn compares_migration_history() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), new_database().await].into_iter().flatten() {
        SqlStore::connect(url.as_str()).await.unwrap();
        assert_eq!(count(&url, "SELECT count(*) FROM roomz_migrations WHERE checksum IS NULL").await, 0);
        // As if a newer instance had updated the tables: this one still works.
        execute(&url, "INSERT INTO roomz_migrations (version, checksum) VALUES (99, 'x')").await;
        SqlStore::connect(url.as_str()).await.unwrap();
        execute(&url, "UPDATE roomz_migrations SET checksum = 'canary' WHERE version = 1").await;
        let (kind, text) = connect_error(&url).await;
        assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
        assert!(text.contains("migration 1") && text.contains("canary"), "{text}");
        execute(&url, "DELETE FROM roomz_migrations").await;
        let error = SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap_err();
        assert_eq!(error.kind(), ConnectErrorKind::InvalidSchema, "{error}");
        assert!(error.to_string().contains("migration 1"), "{error}");
        // A table without history gets one.
        SqlStore::connect(url.as_str()).await.unwrap();
        SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap();
    }
}

/// The tables of a newer version are not created again under their old names: every event would be new.
#[tokio::test]
async fn old_instance_rejects_newer_tables() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), new_database().await].into_iter().flatten() {
        SqlStore::connect(url.as_str()).await.unwrap();
        execute(&url, "INSERT INTO roomz_migrations (version) VALUES (99)").await;
        execute(&url, "ALTER TABLE roomz_claims RENAME TO roomz_claims_v2").await;
        let (kind, text) = connect_error(&url).await;
        assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
        assert!(text.contains("migration 99") && text.contains("update this instance"), "{text}");
    }
}

/// The timeouts of a session are for claims. A migration may wait for as long as the connect timeout.
#[tokio::test]
async fn migration_waits_for_open_transaction() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    execute(&url, "DELETE FROM roomz_migrations").await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("LOCK TABLE roomz_claims IN ROW EXCLUSIVE MODE").await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let connecting = tokio::spawn(async move {
        SqlStore::builder(url).with_connect_timeout(Duration::from_secs(20)).connect().await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut admin).await.unwrap() == 0 {
        assert!(!connecting.is_finished(), "the migration did not wait");
    }
    // Longer than a claim waits for a lock.
    tokio::time::sleep(Duration::from_millis(200)).await;
    transaction.rollback().await.unwrap();
    connecting.await.unwrap().unwrap();
}

async fn execute(url: &str, statement: impl sqlx::SqlSafeStr + Send) {
    if url.starts_with("sqlite") {
        SqlitePool::connect(url).await.unwrap().execute(statement).await.unwrap();
    } else {
        PgConnection::connect(url).await.unwrap().execute(statement).await.unwrap();
    }
}

async fn count(url: &str, count: &'static str) -> i64 {
    if url.starts_with("sqlite") {
        sqlx::query_scalar(count).fetch_one(&SqlitePool::connect(url).await.unwrap()).await.unwrap()
    } else {
        sqlx::query_scalar(count).fetch_one(&PgPool::connect(url).await.unwrap()).await.unwrap()
    }
}

/// An update of the operating system can change the order of other collations, and so break the index.
#[tokio::test]
async fn namespace_has_collation_c() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    let collation: Option<String> = sqlx::query_scalar(
        "SELECT string_agg(table_name || ' ' || collation_name, ', ' ORDER BY table_name) \
         FROM information_schema.columns WHERE column_name = 'namespace'",
    )
    .fetch_one(&mut PgConnection::connect(&url).await.unwrap())
    .await
    .unwrap();
    assert_eq!(collation.as_deref(), Some("roomz_claims C, roomz_inbox C, roomz_presence C"));
}
