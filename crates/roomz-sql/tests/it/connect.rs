//! How connecting fails, poolers, and existing pools.

use std::time::Duration;

use crate::support::{connect_error, kind_and_text, new_database, new_database_with, random_hex, sqlite_url};
use roomz_sql::{ConnectError, ConnectErrorKind, SqlStore};
use roomz_tests::{Server, postgres_url_or_skip};
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, SqlitePool};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// URLs of hosted databases have parameters that sqlx does not know.
/// sqlx would quote the value of a parameter, which can be a part of the password.
#[test]
fn sqlite_options_quote_no_other_url() {
    let error = roomz_sql::sqlite_options("postgres://user:canary?mode=canary@host/database").unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::InvalidUrl);
    assert!(!format!("{error:?} {}", roomz_webhook::roomz_protocol::error_chain(&error)).contains("canary"));
}

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

/// The error names a parameter of a provider, and never a value.
#[tokio::test]
async fn rejects_url_parameter_by_name() {
    for (parameters, name) in [
        ("schema=canary", "`schema`"),
        ("target_session_attrs=read-only", "`target_session_attrs`"),
        ("pgbouncer=true&connection_limit=5", "`connection_limit`"),
        ("canary=canary", "sslmode, sslrootcert"),
    ] {
        let (kind, text) = connect_error(&format!("postgres://127.0.0.1/floors?{parameters}")).await;
        assert_eq!(kind, ConnectErrorKind::InvalidUrl, "{text}");
        assert!(text.contains(name) && !text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn rejects_invalid_url_without_printing_it() {
    for url in [
        "postgres://canary:canary@127.0.0.1:port/floors",
        "postgres://canary@[/floors",
        "postgres:///floors:canary:@127.0.0.1/floors",
        "postgres://127.0.0.1/floors:canary:@127.0.0.1",
        "postgres://canary:1/canary:@127.0.0.1/floors",
        "postgres:floors:canary:@127.0.0.1/floors",
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
        ("canary:canary@127.0.0.1://", "scheme is missing"),
        ("://canary@127.0.0.1", "scheme is missing"),
        ("my-sql+2.0://canary@127.0.0.1", "unknown scheme \"my-sql+2.0\"; use postgres://"),
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
async fn creates_missing_file_as_mode_says() {
    for (parameters, kind) in [
        ("", None),
        ("?mode=rwc", None),
        ("?mode=rwc&cache=private", None),
        ("?cache=private&mode=rwc", None),
        ("?immutable=false", None),
        ("?mode=rw", Some(ConnectErrorKind::InvalidFile)),
        ("?cache=private&mode=rw", Some(ConnectErrorKind::InvalidFile)),
        ("?mode=ro", Some(ConnectErrorKind::InvalidFile)),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("{}{parameters}", sqlite_url(&directory));
        let connected = SqlStore::connect(url).await;
        assert_eq!(connected.as_ref().err().map(ConnectError::kind), kind, "{parameters}: {connected:?}");
        assert_eq!(directory.path().join("claims.db").exists(), kind.is_none(), "{parameters}");
    }
    // The name of the file is not a parameter.
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a%3Fmode=rw", directory.path().display());
    SqlStore::connect(url).await.unwrap();
    assert!(directory.path().join("a?mode=rw").exists());
}

/// A file that exists is opened for reading and writing, or the error says that it is read-only.
#[tokio::test]
async fn opens_existing_file_as_mode_says() {
    let directory = tempfile::tempdir().unwrap();
    let url = sqlite_url(&directory);
    SqlStore::connect(url.as_str()).await.unwrap();
    for parameters in ["mode=rwc", "mode=rw", "mode=rw&cache=private", "cache=shared&mode=rwc"] {
        SqlStore::connect(format!("{url}?{parameters}")).await.unwrap();
    }
    for parameters in ["mode=ro", "mode=ro&cache=private"] {
        let (kind, text) = connect_error(&format!("{url}?{parameters}")).await;
        assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{parameters}: {text}");
    }
}

/// Without the shared memory of WAL, for example on a network share, the locks of SQLite may not work either.
#[tokio::test]
async fn rejects_file_that_cannot_use_wal() {
    let directory = tempfile::tempdir().unwrap();
    for parameters in ["?vfs=unix-none", "?vfs=unix-dotfile", "?mode=rwc&vfs=unix-dotfile", "?immutable=1"] {
        let (kind, text) = connect_error(&format!("{}{parameters}", sqlite_url(&directory))).await;
        assert_eq!(kind, ConnectErrorKind::InvalidFile, "{parameters}: {text}");
        assert!(text.contains("\"delete\"") && text.contains("claims.db"), "{parameters}: {text}");
        assert!(text.contains("local disk") && text.contains("`vfs`"), "{parameters}: {text}");
    }
}

/// Such a database cannot store each text that a delivery may contain. SQL_ASCII stores any bytes.
#[tokio::test]
async fn rejects_encoding_by_name() {
    for (encoding, is_accepted) in
        [("LATIN1", false), ("WIN1252", false), ("SQL_ASCII", true), ("UTF8", true)]
    {
        let options = format!("ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
        let Some(url) = new_database_with(&options).await else { return };
        let pool = PgPool::connect(&url).await.unwrap();
        for connected in [SqlStore::connect(url).await, SqlStore::connect(pool).await] {
            let error = connected.err().map(|error| kind_and_text(&error));
            let Some((kind, text)) = error else {
                assert!(is_accepted, "{encoding}");
                continue;
            };
            assert_eq!(kind, ConnectErrorKind::Unsupported, "{text}");
            assert!(!is_accepted && text.contains(encoding) && text.contains("UTF8"), "{text}");
        }
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

    // First the user may not create the table, then not write to it. Before PostgreSQL 15, every user may
    // create tables.
    admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let (kind, text) = connect_error(&as_user).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
    SqlStore::connect(url.as_str()).await.unwrap();
    let (kind, text) = connect_error(&as_user).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
    assert!(text.contains("INSERT"), "{text}");
    let grant = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON roomz_claims, roomz_presence TO {user}; GRANT SELECT ON roomz_migrations TO {user}"
    );
    admin.execute(AssertSqlSafe(grant)).await.unwrap();
    SqlStore::connect(as_user.as_str()).await.unwrap();

    let read_only = format!("{url}?options=-c%20default_transaction_read_only%3Don");
    let (kind, text) = connect_error(&read_only).await;
    assert_eq!(kind, ConnectErrorKind::PermissionDenied, "{text}");
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

/// The store then sends its settings in each transaction.
#[tokio::test]
async fn pooler_may_ignore_settings() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let ignoring = "transaction\nignore_startup_parameters = options";
    let Some(pgbouncer) = Server::pgbouncer_or_skip(&server, ignoring) else { return };
    let url = pgbouncer.postgres_url();
    let (kind, text) = connect_error(&format!("{url}?options=-c%20search_path%3Dcanary")).await;
    assert!(kind == ConnectErrorKind::Unsupported && text.contains("`options`"), "{text}");
    assert_eq!(SqlStore::connect(url).await.unwrap().purge().await.unwrap(), 0);
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
