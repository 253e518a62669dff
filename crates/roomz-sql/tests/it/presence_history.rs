//! Followers of the presence whose database's history changes: restored, replaced, promoted.

use std::time::Duration;

use crate::presence::{Follower, apply, event};
use crate::support::database::TestDatabase;
use roomz_sql::PresenceTable;
use roomz_tests::Server;
use sqlx::PgPool;

/// Applies events until the numbers of the changes are higher than those of the lost history.
async fn overtake(database: &TestDatabase, table: &PresenceTable) {
    for second in 10..40 {
        apply(database, table, &event(2, second, "Free")).await;
    }
}

/// The follower has seen workspaces 1, 2 and 3, and the history goes on without the change of 3.
async fn expect_snapshot(database: &TestDatabase, follower: &mut Follower) {
    let table = PresenceTable::default();
    let snapshots = follower.snapshots;
    overtake(database, &table).await;
    follower.poll_all(database, &table).await;
    assert_eq!((follower.seen(), follower.snapshots), (vec![(1, "Busy"), (2, "Free")], snapshots + 1));
    // From then on, only changes.
    apply(database, &table, &event(3, 1, "Free")).await;
    follower.poll_all(database, &table).await;
    assert_eq!(follower.seen(), [(1, "Busy"), (2, "Free"), (3, "Free")]);
    assert_eq!(follower.snapshots, snapshots + 1);
}

async fn follow_two(database: &TestDatabase) -> Follower {
    let (table, mut follower) = (PresenceTable::default(), Follower::default());
    apply(database, &table, &event(1, 1, "Busy")).await;
    apply(database, &table, &event(2, 1, "Busy")).await;
    follower.poll_all(database, &table).await;
    assert_eq!((follower.seen(), follower.snapshots), (vec![(1, "Busy"), (2, "Busy")], 1));
    follower
}

async fn follow_third(database: &TestDatabase, follower: &mut Follower) {
    let table = PresenceTable::default();
    apply(database, &table, &event(3, 1, "Busy")).await;
    follower.poll_all(database, &table).await;
    assert_eq!((follower.seen().len(), follower.snapshots), (3, 1));
}

#[tokio::test]
async fn replaced_file_is_read_again() {
    // A copy of the file has the same version of the schema.
    for is_copied in [false, true] {
        let database = TestDatabase::sqlite().await;
        let mut follower = follow_two(&database).await;
        let (_, file) = database.url.split_once("://").unwrap();
        let backup = format!("{file}.backup");
        if is_copied {
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
            std::fs::copy(file, &backup).unwrap();
        } else {
            database.execute(&format!("VACUUM INTO '{backup}'")).await;
        }
        follow_third(&database, &mut follower).await;
        database.close().await;
        std::fs::rename(backup, file).unwrap();
        expect_snapshot(&database.reopened().await, &mut follower).await;
    }
}

/// As after a machine was reset to a snapshot with its memory.
#[tokio::test]
async fn everything_is_read_after_numbers_went_back() {
    let database = TestDatabase::sqlite().await;
    let mut follower = follow_two(&database).await;
    follow_third(&database, &mut follower).await;
    database.execute("DELETE FROM roomz_presence WHERE change > 2; UPDATE sqlite_sequence SET seq = 2").await;
    follower.poll_all(&database, &PresenceTable::default()).await;
    assert_eq!((follower.seen(), follower.snapshots), (vec![(1, "Busy"), (2, "Busy")], 2));
}

/// A restored data directory has the same system identifier and the same timeline.
#[tokio::test]
async fn restored_server_is_read_again() {
    let Some(mut server) = Server::postgres_or_skip(&[]) else { return };
    let database = TestDatabase::postgres_at(server.postgres_url()).await;
    let mut follower = follow_two(&database).await;
    server.kill();
    server.save_data();
    server.restart();
    // A restart is seen as another history, too.
    follower.poll_all(&database.reopened().await, &PresenceTable::default()).await;
    follower.snapshots = 1;
    follow_third(&database.reopened().await, &mut follower).await;
    server.kill();
    server.restore_data();
    server.restart();
    expect_snapshot(&database.reopened().await, &mut follower).await;
}

/// The standby lacks the last change, and its transaction numbers go on from an earlier one.
#[tokio::test]
async fn promoted_standby_is_read_again() {
    let Some(server) = Server::postgres_or_skip(&[]) else { return };
    let database = TestDatabase::postgres_at(server.postgres_url()).await;
    let mut follower = follow_two(&database).await;
    let standby = server.postgres_standby();
    standby.alter_system("SET primary_conninfo = ''").await;
    let standby_pool = PgPool::connect(&standby.postgres_url()).await.unwrap();
    wait_for(&standby_pool, "SELECT count(*) = 0 FROM pg_stat_wal_receiver").await;
    follow_third(&database, &mut follower).await;
    sqlx::query("SELECT pg_promote()").execute(&standby_pool).await.unwrap();
    wait_for(&standby_pool, "SELECT NOT pg_is_in_recovery()").await;
    expect_snapshot(&TestDatabase::postgres_at(standby.postgres_url()).await, &mut follower).await;
}

/// The dump has the numbers of the transactions of its time.
#[tokio::test]
async fn restored_table_is_read_again() {
    let Some(database) = TestDatabase::postgres_or_skip().await else { return };
    let mut follower = follow_two(&database).await;
    database.execute("CREATE TABLE dump AS SELECT * FROM roomz_presence").await;
    follow_third(&database, &mut follower).await;
    database.execute("TRUNCATE roomz_presence; INSERT INTO roomz_presence SELECT * FROM dump").await;
    expect_snapshot(&database, &mut follower).await;
}

async fn wait_for(pool: &PgPool, condition: &'static str) {
    while !sqlx::query_scalar::<_, bool>(condition).fetch_one(pool).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
