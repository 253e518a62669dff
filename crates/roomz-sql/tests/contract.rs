//! The contract for stores: on a real PostgreSQL server, and on an SQLite file that two have open.

#![allow(clippy::unwrap_used)] // in helpers; a test may

use std::sync::OnceLock;
use std::time::Duration;

use roomz_sql::SqlStore;
use roomz_tests::postgres_url;
use roomz_webhook::testing::StoreUnderTest;

/// Well above what a busy machine takes for a few statements that wait for the disk.
const LEASE: Duration = Duration::from_secs(1);

async fn postgres() -> Option<SqlStore> {
    Some(SqlStore::connect(postgres_url()?).await.unwrap())
}

// Two pools are two instances.
roomz_webhook::store_contract!(on_postgres, async {
    let (one, other) = (postgres().await?, postgres().await?);
    Some(StoreUnderTest::new(one).with_peer(other).with_rounds(1_000).with_short_lease(LEASE))
});

async fn sqlite() -> SqlStore {
    static FILE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = FILE.get_or_init(|| tempfile::tempdir().unwrap());
    SqlStore::connect(format!("sqlite://{}/claims.db", directory.path().display())).await.unwrap()
}

roomz_webhook::store_contract!(on_sqlite, async {
    StoreUnderTest::new(sqlite().await).with_peer(sqlite().await).with_rounds(1_000).with_short_lease(LEASE)
});
