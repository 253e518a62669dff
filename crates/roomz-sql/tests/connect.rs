//! How connecting fails, how the tables are created, and existing pools.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use roomz_sql::{ConnectError, ConnectErrorKind, POSTGRES_MIGRATIONS, SQLITE_MIGRATIONS, SqlStore};
use roomz_tests::{Server, postgres_url_or_skip};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, SqlitePool};
use support::{random_hex, sqlite_url};
use tokio::sync::Barrier;

const HOUR: Duration = Duration::from_secs(60 * 60);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

async fn connect_error(url: &str) -> (ConnectErrorKind, String) {
    kind_and_text(&SqlStore::builder(url).with_connect_timeout(CONNECT_TIMEOUT).connect().await.unwrap_err())
}

/// Returns the kind of the error, and everything that it prints.
fn kind_and_text(error: &ConnectError) -> (ConnectErrorKind, String) {
    let source = std::error::Error::source(error).map(|source| format!("{source} {source:?}"));
    (error.kind(), format!("{error} {error:?} {source:?}"))
}

/// Creates a database on the server that all tests share, and returns its URL.
async fn new_database() -> Option<String> {
    let url = postgres_url_or_skip()?;
    let name = format!("test_{}", random_hex());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    connection.execute(create).await.unwrap();
    Some(format!("{}/{name}", url.rsplit_once('/').unwrap().0))
}

/// URLs of hosted databases have parameters that sqlx does not know.
#[tokio::test]
async fn accepts_url_parameters_of_providers() {
    let Some(url) = new_database().await else { return };
    for parameters in [
        "channel_binding=require",
        "pgbouncer=true&connect_timeout=15",
        "keepalives=1&keepalives_idle=30&application_name=floors",
        "target_session_attrs=read-write",
    ] {
        let store = SqlStore::connect(format!("{url}?{parameters}")).await;
        assert!(store.is_ok(), "{parameters}: {:?}", store.err());
    }
}

/// The error names the parameter and the remedy, and never a value.
#[tokio::test]
async fn rejects_url_parameter_by_name() {
    for (parameters, name, advice) in [
        ("schema=canary", "`schema`", "search_path"),
        ("target_session_attrs=read-only", "`target_session_attrs`", "primary"),
        ("pgbouncer=true&connection_limit=5", "`connection_limit`", "with_max_connections"),
        ("canary=canary", "", "sslmode, sslrootcert"),
    ] {
        let (kind, text) = connect_error(&format!("postgres://127.0.0.1/floors?{parameters}")).await;
        assert_eq!(kind, ConnectErrorKind::InvalidUrl, "{text}");
        assert!(text.contains(name) && text.contains(advice) && !text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn rejects_invalid_url_without_printing_it() {
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
        let (kind, text) = connect_error(url).await;
        assert_eq!(kind, ConnectErrorKind::InvalidUrl, "{url}: {text}");
        assert!(!text.contains("canary:"), "{text}");
    }
    for (url, advice) in [
        ("", "scheme is missing"),
        ("localhost", "scheme is missing"),
        ("canary:canary@127.0.0.1/floors", "scheme is missing"),
        ("mysql://canary@127.0.0.1", "unknown scheme \"mysql\"; use postgres://"),
        ("redis://127.0.0.1", "unknown scheme \"redis\"; use postgres://"),
    ] {
        let (kind, text) = connect_error(url).await;
        assert_eq!(kind, ConnectErrorKind::InvalidUrl, "{url}: {text}");
        assert!(text.contains(advice), "{url}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn reports_unreachable_server_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().port();
    for port in [1, silent] {
        let (kind, text) =
            connect_error(&format!("postgres://postgres:canary@127.0.0.1:{port}/floors")).await;
        assert_eq!(kind, ConnectErrorKind::Unreachable, "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn rejects_invalid_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("claims.db"), "this text is not an SQLite database".repeat(99))
        .unwrap();
    for url in [
        sqlite_url(&directory),
        format!("sqlite://{}/missing/claims.db", directory.path().display()),
        format!("sqlite://{}/missing.db?mode=rw", directory.path().display()),
        format!("sqlite://{}", directory.path().display()),
    ] {
        let (kind, text) = connect_error(&url).await;
        assert_eq!(kind, ConnectErrorKind::InvalidFile, "{url}: {text}");
    }
}

#[tokio::test]
async fn reports_rejected_login() {
    let Some(url) = new_database().await else { return };
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let user = format!("user_{}", random_hex());
    let create = format!("CREATE ROLE {user} NOLOGIN");
    admin.execute(AssertSqlSafe(create)).await.unwrap();
    let (_, host) = url.split_once('@').unwrap();
    for url in [
        format!("postgres://{user}:canary@{host}"),
        format!("postgres://nobody_{user}:canary@{host}"),
        format!("{url}_missing"),
    ] {
        let (kind, text) = connect_error(&url).await;
        assert_eq!(kind, ConnectErrorKind::LoginRejected, "{url}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn reports_missing_permission() {
    let Some(url) = new_database().await else { return };
    let mut admin = PgConnection::connect(&url).await.unwrap();
    let user = format!("user_{}", random_hex());
    let create = format!("CREATE ROLE {user} LOGIN");
    admin.execute(AssertSqlSafe(create)).await.unwrap();
    let (_, host) = url.split_once('@').unwrap();
    let as_user = format!("postgres://{user}@{host}");

    // First the user may not create the table, then not write to it. Before PostgreSQL 15, every user may create tables.
    admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let (kind, text) = connect_error(&as_user).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
    SqlStore::connect(url.as_str()).await.unwrap();
    let (kind, text) = connect_error(&as_user).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
    assert!(text.contains("INSERT"), "{text}");
    let grant = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON roomz_claims TO {user}; GRANT SELECT ON roomz_migrations TO {user}"
    );
    admin.execute(AssertSqlSafe(grant)).await.unwrap();
    SqlStore::connect(as_user.as_str()).await.unwrap();

    let read_only = format!("{url}?options=-c%20default_transaction_read_only%3Don");
    let (kind, text) = connect_error(&read_only).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
}

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

/// The store sets the isolation level of its own transactions.
#[tokio::test]
async fn works_with_stricter_default_isolation() {
    let Some(url) = new_database().await else { return };
    for level in ["serializable", "repeatable%5C%20read"] {
        let url = format!("{url}?options=-c%20default_transaction_isolation%3D{level}");
        let pool = PgPool::connect(&url).await.unwrap();
        for store in [SqlStore::connect(pool).await.unwrap(), SqlStore::connect(url).await.unwrap()] {
            let key = ClaimKey::new("isolation".into(), random_hex().parse().unwrap());
            let claim = || {
                let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
                let (store, key) = (store.clone(), key.clone());
                async move { store.claim(&key, &request).await.unwrap() }
            };
            let claims = futures_util::future::join_all((0..32).map(|_| claim())).await;
            let claimed = claims.iter().filter(|claim| claim.state == ClaimState::claimed(1)).count();
            assert_eq!(claimed, 1, "{level}");
        }
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn encryption_error_names_missing_feature() {
    let Some(url) = new_database().await else { return };
    let (kind, text) = connect_error(&format!("{url}?sslmode=require")).await;
    assert_eq!(kind, ConnectErrorKind::Tls, "{text}");
    assert!(text.contains("`tls`"), "{text}");
}

/// What a pooler cannot do is one error that names the setting.
#[tokio::test]
async fn rejects_pooler_settings_by_name() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let Some(pgbouncer) = Server::pgbouncer_or_skip(&server, "transaction") else { return };
    let url = format!("{}?options=-c%20search_path%3Dcanary", pgbouncer.postgres_url());
    let (kind, text) = connect_error(&url).await;
    assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
    assert!(text.contains("`options`") && text.contains("ALTER ROLE") && !text.contains("canary"), "{text}");
    let Some(pgbouncer) = Server::pgbouncer_or_skip(&server, "statement") else { return };
    let (kind, text) = connect_error(&pgbouncer.postgres_url()).await;
    assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
    assert!(text.contains("transaction mode"), "{text}");
}

#[tokio::test]
async fn reports_locked_table_in_time() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    transaction.execute("LOCK TABLE roomz_claims").await.unwrap();
    let (kind, text) = connect_error(&url).await;
    assert_eq!(kind, ConnectErrorKind::Unreachable, "{text}");
    assert!(text.contains("lock"), "{text}");
}

#[tokio::test]
async fn creates_dropped_table_again() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    admin.execute("DROP TABLE roomz_claims").await.unwrap();
    let error = SqlStore::builder(url.as_str()).with_migrations(false).connect().await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::InvalidSchema, "{error}");
    SqlStore::connect(url.as_str()).await.unwrap();
}

/// The versions are compared even if the table works.
#[tokio::test]
async fn compares_migration_history() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), new_database().await].into_iter().flatten() {
        SqlStore::connect(url.as_str()).await.unwrap();
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
        execute(&url, "INSERT INTO roomz_migrations (version) VALUES (2)").await;
        execute(&url, "ALTER TABLE roomz_claims RENAME TO roomz_claims_v2").await;
        let (kind, text) = connect_error(&url).await;
        assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
        assert!(text.contains("migration 2") && text.contains("update this instance"), "{text}");
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

async fn execute(url: &str, statement: &'static str) {
    if url.starts_with("sqlite") {
        SqlitePool::connect(url).await.unwrap().execute(statement).await.unwrap();
    } else {
        PgConnection::connect(url).await.unwrap().execute(statement).await.unwrap();
    }
}

/// An update of the operating system can change the order of other collations, and so break the index.
#[tokio::test]
async fn namespace_has_collation_c() {
    let Some(url) = new_database().await else { return };
    SqlStore::connect(url.as_str()).await.unwrap();
    let collation: Option<String> = sqlx::query_scalar(
        "SELECT collation_name::text FROM information_schema.columns \
         WHERE table_name = 'roomz_claims' AND column_name = 'namespace'",
    )
    .fetch_one(&mut PgConnection::connect(&url).await.unwrap())
    .await
    .unwrap();
    assert_eq!(collation.as_deref(), Some("C"));
}

#[tokio::test]
async fn accepts_any_timeout() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), new_database().await].into_iter().flatten() {
        let builder = SqlStore::builder(url.as_str()).with_connect_timeout(Duration::MAX);
        builder.with_response_timeout(Duration::MAX).connect().await.unwrap();
        let _ = SqlStore::builder(url.as_str()).with_response_timeout(Duration::ZERO).connect().await;
    }
}

/// `Debug` is what `main` prints for a returned error.
#[tokio::test]
async fn debug_prints_message_and_cause() {
    let error = SqlStore::connect("postgres://postgres:canary@127.0.0.1:1/floors").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.starts_with("cannot reach the database in time; "), "{text}");
    assert!(text.contains("refused"), "{text}");
}

#[tokio::test]
async fn accepts_everything_that_names_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    SqlStore::connect(url.as_str()).await.unwrap();
    SqlStore::connect(&url).await.unwrap();
    SqlStore::connect(SqlitePool::connect(&url).await.unwrap()).await.unwrap();
    SqlStore::connect(url).await.unwrap();
    let Some(url) = postgres_url_or_skip() else { return };
    SqlStore::connect(PgPool::connect(&url).await.unwrap()).await.unwrap();
}
