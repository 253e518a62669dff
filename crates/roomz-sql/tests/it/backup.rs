//! The backup of an SQLite file that the deploy guide recommends.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::database::TestDatabase;
use crate::support::random_hex;
use roomz_sql::SqlStore;
use roomz_webhook::store::{
    ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore as _, Owner, Settled,
};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

const HOUR: Duration = Duration::from_secs(60 * 60);
const WRITERS: usize = 4;

fn request(owner: Owner) -> ClaimRequest {
    ClaimRequest::new(owner, Fingerprint::of(b"body"), HOUR, HOUR)
}

/// Claims and completes events until it is aborted.
async fn write(store: SqlStore, done: Arc<Mutex<Vec<ClaimKey>>>) {
    loop {
        let (key, owner) = (ClaimKey::new("backup".into(), random_hex().parse().unwrap()), Owner::random());
        assert_eq!(store.claim(&key, &request(owner)).await.unwrap().state, ClaimState::claimed(1));
        assert_eq!(store.complete(&key, owner, HOUR).await.unwrap(), Settled::Applied);
        done.lock().unwrap().push(key);
    }
}

/// Waits until the writers have completed that many events.
async fn wait_for(done: &Mutex<Vec<ClaimKey>>, events: usize) -> Vec<ClaimKey> {
    loop {
        let done = done.lock().unwrap().clone();
        if done.len() >= events {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The file has so many events that commits happen during the backup. `.backup` of the shell begins again at
/// each of them.
#[tokio::test(flavor = "multi_thread")]
async fn backup_beside_writers_can_be_restored() {
    let database = TestDatabase::sqlite().await;
    database
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000)
             INSERT INTO roomz_claims SELECT 'old', randomblob(16), 2, x'', x'', 1, 0, 1 << 60 FROM n",
        )
        .await;
    let (store, done) = (database.store().await, Arc::default());
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(store.clone(), Arc::clone(&done)));
    }
    let before = wait_for(&done, 100).await;

    let copy = format!("{}.backup", database.url);
    let (_, target) = copy.split_once("://").unwrap();
    let backup = || sqlx::raw_sql(AssertSqlSafe(format!("VACUUM INTO '{target}'")));
    let mut shell = SqliteConnection::connect(&format!("{}?mode=ro", database.url)).await.unwrap();
    backup().execute(&mut shell).await.unwrap();
    let during = done.lock().unwrap().len();
    let existing = backup().execute(&mut shell).await.unwrap_err().to_string();
    assert!(existing.contains("output file already exists"), "{existing}");
    // The writers continue.
    wait_for(&done, during + 100).await;
    writers.shutdown().await;

    // A connection remembers the mode, so each question has its own.
    let mode = async || {
        let mut connection = SqliteConnection::connect(&copy).await.unwrap();
        let mode = sqlx::query_scalar::<_, String>("PRAGMA journal_mode");
        mode.fetch_one(&mut connection).await.unwrap()
    };
    assert_eq!(mode().await, "delete");
    let restored = SqlStore::connect(copy.as_str()).await.unwrap();
    assert_eq!(mode().await, "wal");
    for key in &before {
        let state = restored.claim(key, &request(Owner::random())).await.unwrap().state;
        assert_eq!(state, ClaimState::Done, "{key:?}");
    }
}
