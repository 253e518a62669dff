//! Pools of an application whose connections were returned inside a transaction.

use std::time::Duration;

use crate::support::database::{DONE, Pool, RUNNING, TestDatabase, databases};
use crate::support::random_hex;
use roomz_sql::SqlStore;
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled,
};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

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

/// Another session sees each change at once, and nothing that the application did not commit.
#[tokio::test]
async fn changes_are_durable_on_pool_in_transaction() {
    for database in databases().await {
        let pool = small_pool(&database).await;
        let store = match &pool {
            Pool::Postgres(pool) => SqlStore::connect(pool.clone()).await.unwrap(),
            Pool::Sqlite(pool) => SqlStore::connect(pool.clone()).await.unwrap(),
        };
        let texts: &[_] = if database.is_postgres() {
            &[
                "BEGIN",
                "BEGIN; SELECT 1",
                "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1",
                "BEGIN; SELECT 1 / 0",
                BEGIN_AND_WRITE,
            ]
        } else {
            &["BEGIN", "BEGIN IMMEDIATE", BEGIN_AND_WRITE]
        };
        for text in texts {
            let key = ClaimKey::new("pool".into(), random_hex().parse().unwrap());
            let owner = Owner::random();
            let request = ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR);
            leave_open(&pool, text).await;
            assert_eq!(store.claim(&key, &request).await.unwrap().state, ClaimState::claimed(1), "{text}");
            assert_eq!(database.claim_row().await.0, RUNNING, "{text}");
            leave_open(&pool, text).await;
            assert_eq!(store.complete(&key, owner, HOUR).await.unwrap(), Settled::Applied, "{text}");
            assert_eq!(database.claim_row().await.0, DONE, "{text}");
            assert_eq!(database.count_effects().await, 0, "{text}");
            database.clear().await;
        }
    }
}
