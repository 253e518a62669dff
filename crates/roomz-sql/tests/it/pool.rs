//! Pools of an application whose connections were returned inside a transaction, or with other settings.

use std::time::Duration;

use crate::support::database::{DONE, FREE, Pool, RUNNING, TestDatabase, databases};
use crate::support::random_hex;
use roomz_sql::{PresenceTable, SqlStore};
use roomz_tests::Server;
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled,
};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

const HOUR: Duration = Duration::from_secs(60 * 60);
const BEGIN_AND_WRITE: &str = "BEGIN; INSERT INTO effects (event_id) VALUES ('')";

/// Executes the text on each connection of the pool. One of the texts fails.
macro_rules! execute_on_each {
    ($pool:expr, $text:expr) => {{
        let mut connections = Vec::new();
        for _ in 0..$pool.options().get_max_connections() {
            connections.push($pool.acquire().await.unwrap());
        }
        for mut connection in connections {
            let _ = sqlx::raw_sql($text).execute(&mut *connection).await;
        }
    }};
}

async fn small_pool(database: &TestDatabase) -> Pool {
    match &database.pool {
        Pool::Postgres(_) => {
            Pool::Postgres(PgPoolOptions::new().max_connections(2).connect(&database.url).await.unwrap())
        }
        Pool::Sqlite(_) => {
            Pool::Sqlite(SqlitePoolOptions::new().max_connections(1).connect(&database.url).await.unwrap())
        }
    }
}

async fn leave_open(pool: &Pool, text: &'static str) {
    match pool {
        Pool::Postgres(pool) => execute_on_each!(pool, text),
        Pool::Sqlite(pool) => execute_on_each!(pool, text),
    }
}

async fn connect(pool: &Pool) -> SqlStore {
    let builder = match pool {
        Pool::Postgres(pool) => SqlStore::builder(pool.clone()),
        Pool::Sqlite(pool) => SqlStore::builder(pool.clone()),
    };
    builder.with_purge_interval(None).connect().await.unwrap()
}

/// How an application can leave a connection: inside a transaction, or with other settings of the session.
fn left_states(database: &TestDatabase) -> &'static [&'static str] {
    if database.is_postgres() {
        &[
            "BEGIN",
            "BEGIN; SELECT 1",
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1",
            "BEGIN READ ONLY",
            "BEGIN; SAVEPOINT a; SAVEPOINT b",
            "BEGIN; SAVEPOINT a; SELECT 1 / 0",
            "BEGIN; SELECT 1 / 0",
            BEGIN_AND_WRITE,
            "SET ROLE nobody",
            "SET search_path = other",
            "SET default_transaction_read_only = on",
            "SET default_transaction_isolation = serializable",
            "SET TIME ZONE 'Asia/Kathmandu'",
            "SET bytea_output = escape",
            "SET client_encoding = LATIN1",
            "SET lock_timeout = 1",
        ]
    } else {
        &["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT a", BEGIN_AND_WRITE, "PRAGMA query_only = 1"]
    }
}

/// Another session sees each change at once, and nothing that the application did not commit.
#[tokio::test]
async fn changes_are_durable_on_any_left_connection() {
    for database in databases().await {
        let pool = small_pool(&database).await;
        if database.is_postgres() {
            // The role may not use the tables. The other schema has tables of its own.
            database
                .execute(
                    "CREATE SCHEMA other; CREATE TABLE other.roomz_claims (LIKE roomz_claims INCLUDING ALL)",
                )
                .await;
            database
                .execute("DO $$ BEGIN CREATE ROLE nobody; EXCEPTION WHEN duplicate_object THEN END $$")
                .await;
        }
        let store = connect(&pool).await;
        for text in left_states(&database) {
            // Not in the encoding of a session with LATIN1.
            let key = ClaimKey::new("Zürich 🪑".into(), random_hex().parse().unwrap());
            let owner = Owner::random();
            let claim = async |owner| {
                let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR);
                store.claim(&key, &request).await.unwrap().state
            };
            leave_open(&pool, text).await;
            assert_eq!(claim(owner).await, ClaimState::claimed(1), "{text}");
            assert_eq!(database.claim_row().await.0, RUNNING, "{text}");
            leave_open(&pool, text).await;
            assert_eq!(store.renew(&key, owner, 2 * HOUR).await.unwrap(), Settled::Applied, "{text}");
            leave_open(&pool, text).await;
            assert_eq!(store.release(&key, owner).await.unwrap(), Settled::Applied, "{text}");
            assert_eq!(database.claim_row().await.0, FREE, "{text}");
            assert_eq!(claim(owner).await, ClaimState::claimed(2), "{text}");
            leave_open(&pool, text).await;
            assert!(matches!(claim(Owner::random()).await, ClaimState::InFlight { .. }), "{text}");
            leave_open(&pool, text).await;
            assert_eq!(store.complete(&key, owner, HOUR).await.unwrap(), Settled::Applied, "{text}");
            assert_eq!(database.claim_row().await.0, DONE, "{text}");
            database.execute("UPDATE roomz_claims SET expires = 0").await;
            leave_open(&pool, text).await;
            assert_eq!(store.purge().await.unwrap(), 1, "{text}");
            assert_eq!(database.count_effects().await, 0, "{text}");
            database.clear().await;
        }
    }
}

/// The self-test and the migrations, which are committed, while nothing else is.
#[tokio::test]
async fn connects_on_any_connection_left_in_transaction() {
    for database in databases().await {
        for text in left_states(&database)
            .iter()
            .filter(|text| !text.starts_with("SET ") && !text.starts_with("PRAGMA"))
        {
            let pool = small_pool(&database).await;
            leave_open(&pool, text).await;
            drop(connect(&pool).await);
            database.execute("DROP TABLE roomz_presence").await;
            leave_open(&pool, text).await;
            drop(connect(&pool).await);
            assert_eq!(database.presence(&PresenceTable::default()).await, [], "{text}");
            assert_eq!(database.count_effects().await, 0, "{text}");
        }
    }
}

/// Settings that each connection of the pool has, as with `after_connect`, stay.
#[tokio::test]
async fn keeps_settings_that_connect_found() {
    let Some(database) = TestDatabase::postgres_or_skip().await else { return };
    database.execute("CREATE SCHEMA tenant").await;
    let url = format!("{}?options=-c%20search_path%3Dtenant", database.url);
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    let store = SqlStore::connect(pool).await.unwrap();
    let key = ClaimKey::new("pool".into(), random_hex().parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    assert_eq!(store.claim(&key, &request).await.unwrap().state, ClaimState::claimed(1));
    let Pool::Postgres(pool) = &database.pool else { unreachable!() };
    let count = "SELECT count(*) FROM tenant.roomz_claims";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(pool).await.unwrap(), 1);
}

/// A connection that was left in a transaction can have other state, such as locks.
#[tokio::test]
async fn closes_connection_that_was_left_in_transaction() {
    let Some(database) = TestDatabase::postgres_or_skip().await else { return };
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    let store = connect(&Pool::Postgres(pool.clone())).await;
    let pid =
        async || sqlx::query_scalar::<_, i32>("SELECT pg_backend_pid()").fetch_one(&pool).await.unwrap();
    let key = ClaimKey::new("pool".into(), random_hex().parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    let before = pid().await;
    let _ = store.claim(&key, &request).await.unwrap();
    assert_eq!(pid().await, before, "a clean connection stays");
    leave_open(&Pool::Postgres(pool.clone()), "BEGIN; SELECT 1 / 0").await;
    let _ = store.claim(&key, &request).await.unwrap();
    assert_ne!(pid().await, before);
}

/// Only its use shows that a connection of the pool is closed.
#[tokio::test]
async fn replaces_pooled_connections_after_restart() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let options = PgPoolOptions::new().max_connections(4).test_before_acquire(false);
    let pool = Pool::Postgres(options.connect(&server.postgres_url()).await.unwrap());
    let store = connect(&pool).await;
    let claim = async || {
        let key = ClaimKey::new("pool".into(), random_hex().parse().unwrap());
        let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
        store.claim(&key, &request).await.map(|claim| claim.state)
    };
    assert_eq!(claim().await.unwrap(), ClaimState::claimed(1));
    leave_open(&pool, "SELECT 1").await;
    server.kill();
    server.restart();
    // Each failure replaces a connection of the pool, which has at most four.
    let mut failed = 0;
    while claim().await.is_err() {
        failed += 1;
        assert!(failed < 20, "a broken connection is used again");
    }
    for _ in 0..8 {
        assert_eq!(claim().await.unwrap(), ClaimState::claimed(1));
    }
}

#[tokio::test]
async fn rejected_statement_runs_once_and_leaves_no_transaction() {
    let Some(database) = TestDatabase::postgres_or_skip().await else { return };
    let Pool::Postgres(admin) = &database.pool else { unreachable!() };
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
    let store = connect(&Pool::Postgres(pool)).await;
    let trigger = "CREATE SEQUENCE runs; \
                   CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql \
                   AS 'BEGIN PERFORM nextval(''runs''); RAISE EXCEPTION ''rejected''; END'; \
                   CREATE TRIGGER reject BEFORE INSERT ON roomz_claims FOR EACH ROW EXECUTE FUNCTION reject()";
    database.execute(trigger).await;
    let key = ClaimKey::new("pool".into(), random_hex().parse().unwrap());
    let request = ClaimRequest::new(Owner::random(), Fingerprint::of(b"body"), HOUR, HOUR);
    store.claim(&key, &request).await.unwrap_err();
    let runs = "SELECT last_value FROM runs";
    assert_eq!(sqlx::query_scalar::<_, i64>(runs).fetch_one(admin).await.unwrap(), 1);
    let open = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(open).fetch_one(admin).await.unwrap(), 0);
}

/// The busy timeout of the pool is shorter than the transaction of another process.
#[tokio::test]
async fn waits_for_other_writer() {
    let database = TestDatabase::sqlite().await;
    let options: SqliteConnectOptions = database.url.parse().unwrap();
    let options = options.busy_timeout(Duration::from_millis(1));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let store = connect(&Pool::Sqlite(pool)).await;
    let mut other = database.begin().await;
    let (key, owner) = (ClaimKey::new("pool".into(), random_hex().parse().unwrap()), Owner::random());
    other.insert_effect(key.id()).await;
    let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR);
    let (claimed, ()) = tokio::join!(store.claim(&key, &request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.commit().await;
    });
    assert_eq!(claimed.unwrap().state, ClaimState::claimed(1));
}
