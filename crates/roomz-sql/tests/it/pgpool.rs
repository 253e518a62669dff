//! Pgpool-II, which sends reads to a standby.

use std::time::Duration;

use roomz_sql::{PresencePoint, PresenceTable, SqlStore};
use roomz_tests::Server;
use roomz_webhook::store::{ClaimKey, ClaimRequest, ClaimState, Fingerprint, IdempotencyStore, Owner};
use roomz_webhook::testing::TestEvent;
use roomz_webhook::{Event, LatestOutcome, WorkspacePresenceChanged};
use sqlx::PgPool;

const HOUR: Duration = Duration::from_secs(3_600);

/// The standby has no table yet, or an old row.
#[tokio::test]
async fn reads_from_primary_behind_pgpool() {
    let Some(primary) = Server::postgres_or_skip(&[]) else { return };
    let standby = primary.postgres_standby();
    let Some(pgpool) = Server::pgpool_or_skip(&primary, &standby) else { return };
    let url = pgpool.postgres_url();
    let (main, behind) = (connect(&primary.postgres_url()).await, connect(&standby.postgres_url()).await);
    sqlx::query("CREATE TABLE probes (number BIGINT)").execute(&main).await.unwrap();
    while sqlx::query("SELECT * FROM probes").fetch_all(&behind).await.is_err() {}
    sqlx::query("SELECT pg_wal_replay_pause()").execute(&behind).await.unwrap();
    while sqlx::query_scalar::<_, String>("SELECT pg_get_wal_replay_pause_state()")
        .fetch_one(&behind)
        .await
        .unwrap()
        != "paused"
    {}
    sqlx::query("INSERT INTO probes VALUES (1)").execute(&main).await.unwrap();
    let pool = connect(&url).await;
    let seen = sqlx::query("SELECT * FROM probes").fetch_all(&pool).await.unwrap();
    assert!(seen.is_empty(), "Pgpool-II does not send reads to the standby");

    for store in [SqlStore::connect(&url).await.unwrap(), SqlStore::connect(pool.clone()).await.unwrap()] {
        let body = TestEvent::busy().body();
        let key = ClaimKey::new("roomz".into(), Event::parse(&body).unwrap().id);
        let claim = async || {
            let request = ClaimRequest::new(Owner::random(), Fingerprint::of(&body), HOUR, HOUR);
            store.claim(&key, &request).await.unwrap().state
        };
        assert_eq!(claim().await, ClaimState::claimed(1));
        assert!(matches!(claim().await, ClaimState::InFlight { .. }));
    }

    let event: Event<WorkspacePresenceChanged> =
        Event::parse(&TestEvent::busy().body()).unwrap().typed().unwrap();
    let (presence, mut connection) = (PresenceTable::default(), pool.acquire().await.unwrap());
    for outcome in [LatestOutcome::Newest, LatestOutcome::Duplicate] {
        assert_eq!(presence.apply(&mut *connection, &event).await.unwrap(), outcome);
    }
    let changes = presence.changes_since(&mut *connection, PresencePoint::default()).await.unwrap();
    assert_eq!(changes.workspaces.len(), 1);
}

async fn connect(url: &str) -> PgPool {
    PgPool::connect_with(roomz_sql::postgres_options(url).unwrap()).await.unwrap()
}
