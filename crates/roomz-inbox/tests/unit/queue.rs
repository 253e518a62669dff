//! The operations of a queue, one by one.

#![allow(clippy::unwrap_used, reason = "a test may panic in its helpers")]

use super::*;
use crate::entry::InboxState;
use crate::queue::statements::{DEAD, DONE, RUNNING, WAITING};
use roomz_sql::db::connect::connect;
use roomz_sql::db::settings::Settings;

const HOUR: Duration = Duration::from_hours(1);

pub(crate) async fn queue(url: String) -> Queue {
    let settings = Settings { handler_connections: 1, ..Settings::new(roomz_sql::tests) };
    let (workers, pool) = connect(url.into(), &settings).await.unwrap();
    Queue::new(workers, pool)
}

pub(crate) fn sqlite_url(directory: &tempfile::TempDir) -> String {
    format!("sqlite://{}/inbox.db", directory.path().display())
}

pub(crate) fn key(namespace: &str, number: u128) -> ClaimKey {
    ClaimKey::new(namespace.into(), roomz_webhook::roomz_protocol::Uuid::from_u128(number).into())
}

/// Executes a statement as it is.
pub(crate) async fn change(queue: &Queue, text: &str) {
    let statement = Box::leak(Box::new(Statement::single(queue.dialect(), text, &[])));
    queue.execute(statement, Vec::new()).await.unwrap();
}

/// A reply can be lost, and the worker then records the outcome again.
#[tokio::test]
async fn outcome_can_be_recorded_again() {
    let directory = tempfile::tempdir().unwrap();
    let queue = queue(sqlite_url(&directory)).await;
    let key = key("roomz", 1);
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
        let log_len = || std::fs::metadata(directory.path().join("inbox.db-wal")).unwrap().len();
        let before = log_len();
        assert!(update(third, 3, done).await);
        assert!(log_len() > before, "nothing was written, so nothing was synced");
    }
    assert!(!update(third, 3, dead).await);
    assert!(!update(second, 2, done).await);
}

/// The transaction of a handler completes the event of its attempt, while that attempt runs.
#[tokio::test]
async fn transaction_completes_its_running_event_only() {
    let directory = tempfile::tempdir().unwrap();
    let queue = queue(sqlite_url(&directory)).await;
    let [event, same_id, other] = [key("one", 1), key("two", 1), key("one", 2)];
    for key in [&event, &same_id, &other] {
        assert!(queue.insert(key, b"body", None).await.unwrap());
    }
    change(&queue, "UPDATE roomz_inbox SET received = received - 60000").await;
    let owner = Owner::random();
    let taken = queue.take(owner, HOUR, 3, &mut Scan::new(Dialect::Sqlite)).await.unwrap().0;
    assert_eq!(taken.len(), 3);
    let has_age = |age: Duration| (Duration::from_secs(60)..HOUR).contains(&age);
    let complete = async |key, owner| {
        let transaction = queue.pool.begin().await.unwrap();
        queue.commit(transaction, key, owner, HOUR).await.is_ok_and(has_age)
    };
    let state = async |key| queue.get(key).await.unwrap().unwrap().state;
    assert!(!complete(&event, Owner::random()).await);
    assert!(complete(&event, owner).await);
    assert_eq!(state(&event).await, InboxState::Done);
    for key in [&same_id, &other] {
        assert_eq!(state(key).await, InboxState::Running);
    }
    // The attempts have ended.
    let failed = OwnerUpdate::RetryAfter { pause: HOUR, error: "failed" };
    assert!(queue.update(&other, owner, 1, failed).await.unwrap().is_some_and(has_age));
    for key in [&event, &other] {
        assert!(!complete(key, owner).await);
    }
    assert_eq!(state(&other).await, InboxState::Waiting);
}

/// A worker takes again at once if there may be more, and only then.
#[tokio::test]
async fn take_says_whether_more_may_be_due() {
    let directory = tempfile::tempdir().unwrap();
    let queue = queue(sqlite_url(&directory)).await;
    for number in 0..3 {
        assert!(queue.insert(&key("roomz", number), b"body", None).await.unwrap());
    }
    let take = async |scan: &mut Scan| {
        let (taken, has_more) = queue.take(Owner::random(), HOUR, 2, scan).await.unwrap();
        (taken.len(), has_more)
    };
    let mut scan = Scan::new(Dialect::Sqlite);
    for expected in [(2, true), (1, false), (0, false)] {
        assert_eq!(take(&mut scan).await, expected);
    }
    // A step of a sweep says nothing about what became due after it.
    let mut scan = Scan::new(Dialect::Postgres);
    scan.failed(scan.range(), true);
    assert_eq!(take(&mut scan).await, (0, true));
}

/// Somebody must find the row that the log line is about.
#[tokio::test]
async fn unreadable_row_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let queue = queue(sqlite_url(&directory)).await;
    change(
        &queue,
        "INSERT INTO roomz_inbox VALUES ('floors', x'0aff', 0, 0, 0, x'00', 0, 0, '', NULL, NULL)",
    )
    .await;
    let (taken, _) = queue.take(Owner::random(), HOUR, 1, &mut Scan::new(Dialect::Sqlite)).await.unwrap();
    let error = taken.into_iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("event 0aff in the namespace \"floors\": "), "{error}");
}

/// A sweep has steps after a statement that took too long, and after no other failure.
#[tokio::test]
async fn only_timeouts_lead_to_steps() {
    assert!(timed_out(&Failed::TimedOut) && !timed_out(&Failed::RuntimeEnded));
    let Some(url) = roomz_tests::postgres_url_or_skip() else { return };
    let queue = queue(url).await;
    for (code, is_timeout) in [("57014", true), ("P0001", false)] {
        let text = format!("DO $$ BEGIN RAISE 'failed' USING ERRCODE = '{code}'; END $$");
        let statement = Box::leak(Box::new(Statement::single(queue.dialect(), &text, &[])));
        let failed = queue.execute(statement, Vec::new()).await.unwrap_err();
        assert_eq!(timed_out(&failed), is_timeout, "{failed:?}");
    }
}

/// Changes that wait together are one statement. Each has the outcome that it has alone.
#[tokio::test]
async fn batched_changes_have_their_own_outcomes() {
    let directory = tempfile::tempdir().unwrap();
    for url in [Some(sqlite_url(&directory)), roomz_tests::postgres_url_or_skip()].into_iter().flatten() {
        let queue = queue(url).await;
        let namespace = format!("batch {:032x}", rand::random::<u128>());
        let key = |number: u128| key(&namespace, number);
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
    let queue = queue(url.clone()).await;
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
