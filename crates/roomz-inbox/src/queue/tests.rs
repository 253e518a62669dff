use super::*;
use roomz_sql::db::connect::connect;
use roomz_sql::db::settings::Settings;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A reply can be lost, and the worker then records the outcome again.
#[tokio::test]
async fn outcome_can_be_recorded_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/inbox.db", directory.path().display());
    let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
    let (workers, pool) = connect(url.into(), &settings).await.unwrap();
    let queue = Queue::new(workers, pool);
    let key = ClaimKey::new("roomz".into(), "e6ae112e-2af3-4d72-894b-03435d7afde4".parse().unwrap());
    assert!(queue.insert(&key, b"body", None).await.unwrap());
    let take = async || {
        let owner = Owner::random();
        let taken = queue.take(owner, HOUR, 1, &mut Scan::new(Dialect::Sqlite)).await.unwrap().0;
        assert_eq!(taken.len(), 1);
        owner
    };
    let update =
        async |owner, attempts, update| queue.update(&key, owner, attempts, update).await.unwrap().is_some();
    let retry = OwnerUpdate::RetryAfter { pause: Duration::ZERO, error: "failed" };
    let (dead, done) =
        (OwnerUpdate::Dead { retention: HOUR, error: "dead" }, OwnerUpdate::Complete { retention: HOUR });

    let first = take().await;
    for _ in 0..2 {
        assert!(update(first, 1, retry).await);
    }
    let second = take().await;
    assert!(!update(first, 1, retry).await);
    for _ in 0..2 {
        assert!(update(second, 2, dead).await);
    }
    // A person retries it. The late repetition does not end it again.
    assert!(queue.retry(&key).await.unwrap());
    assert!(!update(second, 2, dead).await);

    let third = take().await;
    for _ in 0..2 {
        assert!(update(third, 3, done).await);
    }
    assert!(!update(third, 3, dead).await);
    assert!(!update(second, 2, done).await);
}

/// Changes that wait together are one statement. Each has the outcome that it has alone.
#[tokio::test]
async fn batched_changes_have_their_own_outcomes() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}/inbox.db", directory.path().display());
    for url in [Some(sqlite), roomz_tests::postgres_url_or_skip()].into_iter().flatten() {
        let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
        let (workers, pool) = connect(url.into(), &settings).await.unwrap();
        let queue = Queue::new(workers, pool);
        let namespace = format!("batch {:032x}", rand::random::<u128>());
        let key = |number: u128| {
            ClaimKey::new(
                namespace.as_str().into(),
                roomz_webhook::roomz_protocol::Uuid::from_u128(number).into(),
            )
        };
        let mut events = tokio::task::JoinSet::new();
        for number in 0..60 {
            let (queue, key) = (queue.clone(), key(number));
            events.spawn(async move { queue.insert(&key, b"body", None).await.unwrap() });
        }
        assert!(events.join_all().await.into_iter().all(|is_new| is_new));
        let owner = Owner::random();
        while !queue.take(owner, HOUR, 1_000, &mut Scan::new(queue.dialect())).await.unwrap().0.is_empty() {}

        let mut changes = tokio::task::JoinSet::new();
        for number in 0..60_u32 {
            let (queue, key) = (queue.clone(), key(number.into()));
            changes.spawn(async move {
                let update = match number % 5 {
                    0 => OwnerUpdate::Renew { lease: HOUR },
                    1 => OwnerUpdate::Complete { retention: HOUR },
                    2 => OwnerUpdate::RetryAfter { pause: HOUR, error: "failed" },
                    3 => OwnerUpdate::Dead { retention: HOUR, error: "dead" },
                    _ => OwnerUpdate::GiveBack,
                };
                let is_owner = number % 7 != 0;
                let owner = if is_owner { owner } else { Owner::random() };
                let is_changed = queue.update(&key, owner, number, update).await.unwrap().is_some();
                assert_eq!(is_changed, is_owner, "{number}");
            });
        }
        changes.join_all().await;
        for number in 0..60_u32 {
            let entry = queue.get(&key(number.into())).await.unwrap().unwrap();
            let found = (entry.state.number(), entry.attempts, entry.error.as_deref());
            let expected = match number % 5 {
                _ if number % 7 == 0 => (RUNNING, 1, None),
                0 => (RUNNING, number, None),
                1 => (DONE, number, None),
                2 => (WAITING, number, Some("failed")),
                3 => (DEAD, number, Some("dead")),
                _ => (WAITING, number, None),
            };
            assert_eq!(found, expected, "{number}");
        }
    }
}

/// The log line must name who keeps the dead rows.
#[tokio::test]
async fn dead_rows_name_the_session() {
    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

    let Some(server) = roomz_tests::Server::postgres_or_skip(&["autovacuum=off"]) else { return };
    let url = server.postgres_url();
    let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
    let (workers, pool) = connect(url.clone().into(), &settings).await.unwrap();
    let queue = Queue::new(workers, pool);
    let fill = "INSERT INTO roomz_inbox SELECT '', CAST(md5(CAST(i AS TEXT)) AS BYTEA), 2, 0, 0, '', 1, 0, '', NULL \
                FROM generate_series(1, 50001) i; DELETE FROM roomz_inbox";
    let burn = "DO $$ BEGIN FOR i IN 1..1100 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$";
    let mut other = PgConnection::connect(&url).await.unwrap();
    assert_eq!(queue.dead_rows().await.unwrap(), None);
    for has_snapshot in [false, true] {
        let mut holder = PgConnection::connect(&url).await.unwrap();
        if has_snapshot {
            holder
                .execute("SET application_name = 'pg_dump'; BEGIN ISOLATION LEVEL REPEATABLE READ")
                .await
                .unwrap();
            holder.execute("SELECT 1 FROM roomz_inbox").await.unwrap();
        }
        for script in [fill, burn] {
            other.execute(sqlx::raw_sql(AssertSqlSafe(script))).await.unwrap();
        }
        // A session reports its statistics when it ends.
        other.close().await.unwrap();
        other = PgConnection::connect(&url).await.unwrap();
        let (count, held_by) = queue.dead_rows().await.unwrap().unwrap();
        assert!(count > 50_000, "{count}");
        let name = held_by.as_deref().unwrap_or_default();
        assert_eq!(name.contains("(pg_dump, idle in transaction)"), has_snapshot, "{name}");
        assert_eq!(held_by.is_some(), has_snapshot, "{name}");
    }
}
