//! The store contract on a PostgreSQL server, on an SQLite file, and on an SQLite pool of the application.

use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use crate::support::random_hex;
use roomz_sql::SqlStore;
use roomz_tests::{Server, postgres_url_or_skip, rounds};
use roomz_webhook::testing::StoreUnderTest;
use sqlx::sqlite::SqlitePoolOptions;

/// Far longer than a busy machine needs for a few statements that wait for the disk.
const LEASE: Duration = Duration::from_secs(1);

async fn connect_postgres() -> Option<SqlStore> {
    Some(SqlStore::connect(postgres_url_or_skip()?).await.unwrap())
}

// Two pools stand for two instances.
roomz_webhook::store_contract!(on_postgres, async {
    let (store, peer) = (connect_postgres().await?, connect_postgres().await?);
    Some(StoreUnderTest::new(store).with_peer(peer).with_rounds(rounds(100, 3_000)).with_short_lease(LEASE))
});

/// Two instances behind a PgBouncer with this pool mode. Both modes share one server, which is started once
/// per process: a `static` in the macro's argument would be one for each test.
async fn connect_pgbouncer(is_session: bool) -> Option<StoreUnderTest> {
    static URLS: LazyLock<Option<[String; 2]>> = LazyLock::new(|| {
        let postgres = Server::postgres_or_skip(&[])?;
        let transactions = Server::pgbouncer_or_skip(&postgres, "transaction")?;
        // The stores of all tests that run at once need more than the default of 20 sessions.
        let sessions = Server::pgbouncer_or_skip(&postgres, "session\ndefault_pool_size = 100")?;
        let urls = [transactions.postgres_url(), sessions.postgres_url()];
        [postgres, transactions, sessions].into_iter().for_each(Server::kill_with_this_process);
        Some(urls)
    });
    let [transactions, sessions] = URLS.as_ref()?;
    let url = if is_session { sessions } else { transactions };
    let (store, peer) = (SqlStore::connect(url).await.unwrap(), SqlStore::connect(url).await.unwrap());
    Some(StoreUnderTest::new(store).with_peer(peer).with_rounds(rounds(40, 1_000)).with_short_lease(LEASE))
}

roomz_webhook::store_contract!(through_pgbouncer_transactions, connect_pgbouncer(false));
roomz_webhook::store_contract!(through_pgbouncer_sessions, connect_pgbouncer(true));

// A typical pool of an application: default timeouts, tests before use, several connections.
roomz_webhook::store_contract!(on_postgres_pool, async {
    let url = postgres_url_or_skip()?;
    let pool = async || sqlx::PgPool::connect(&url).await.unwrap();
    let (store, peer) = (SqlStore::connect(pool().await).await, SqlStore::connect(pool().await).await);
    Some(
        StoreUnderTest::new(store.unwrap())
            .with_peer(peer.unwrap())
            .with_rounds(rounds(40, 1_000))
            .with_short_lease(LEASE),
    )
});

/// Returns the URL of a new SQLite file. Each test has its own, because SQLite does not serve writers in
/// order.
fn new_sqlite_url() -> String {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap());
    format!("sqlite://{}/{}.db", directory.path().display(), random_hex())
}

roomz_webhook::store_contract!(on_sqlite, async {
    let url = new_sqlite_url();
    let (store, peer) = (SqlStore::connect(&url).await.unwrap(), SqlStore::connect(&url).await.unwrap());
    StoreUnderTest::new(store).with_peer(peer).with_rounds(rounds(100, 3_000)).with_short_lease(LEASE)
});

// A typical pool of an application: default timeouts, tests before use, several connections.
roomz_webhook::store_contract!(on_sqlite_pool, async {
    let url = format!("{}?mode=rwc", new_sqlite_url());
    let pool = async || SqlitePoolOptions::new().max_connections(4).connect(&url).await.unwrap();
    let (store, peer) = (SqlStore::connect(pool().await).await, SqlStore::connect(pool().await).await);
    let test = StoreUnderTest::new(store.unwrap()).with_peer(peer.unwrap()).with_short_lease(LEASE);
    test.with_rounds(rounds(40, 500))
});
