//! The path of an event through the inbox, on both databases.

use std::sync::Arc;

use crate::support::{
    POLL, TestDatabase, WAIT, deliver, deliver_new, entry, gated_worker, on_both, wait_for, write_effect,
};
use roomz_inbox::{BoxError, EventData, Inbox, InboxState, Job};
use roomz_webhook::testing::TestEvent;
use sqlx::Acquire as _;
use tokio::sync::{Barrier, Notify};
use tower::service_fn;

on_both! {
    event_is_handled_in_its_transaction
    effect_and_completion_are_one_commit
    savepoint_is_rolled_back_alone
    transaction_of_other_database_is_an_error
    workers_share_events
    job_of_all_types_receives_unknown_type
    handler_without_transaction_completes
}

async fn event_is_handled_in_its_transaction(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let waiting = entry(&inbox, &event).await;
    assert_eq!((waiting.state, waiting.attempts, waiting.error), (InboxState::Waiting, 0, None));
    assert_eq!(inbox.stats().await.unwrap().waiting, 1);

    let (worker, mut calls) = gated_worker(&inbox);
    let call = calls.next().await;
    assert_eq!((call.id, call.attempt), (waiting.key.id(), 1));
    let stats = inbox.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.running, stats.dead), (0, 1, 0));
    call.succeed();
    let done = wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!((done.attempts, done.body.to_vec(), done.received), (1, event.body(), waiting.received));
    assert_eq!(database.effects().await, [1]);
    assert_eq!(inbox.list(InboxState::Done, 10).await.unwrap().len(), 1);
    assert_eq!(deliver(&inbox, &event).await, 200);
    worker.shutdown(WAIT).await;
}

/// The commit fails, so the event is not done either.
async fn effect_and_completion_are_one_commit(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database
        .execute(
            "CREATE TABLE desks (id TEXT PRIMARY KEY);
             CREATE TABLE effects (
                event_id TEXT NOT NULL REFERENCES desks (id) DEFERRABLE INITIALLY DEFERRED, attempt BIGINT NOT NULL
             )",
        )
        .await;
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.succeed();
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert!(failed.error.unwrap().starts_with("the transaction of the handler failed: "));
    assert_eq!(database.effects().await, [0_i64; 0]);

    database.execute(format!("INSERT INTO desks (id) VALUES ('{}')", failed.key.id())).await;
    database.make_due().await;
    calls.next().await.succeed();
    let done = wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!((done.attempts, done.error), (2, None));
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

async fn savepoint_is_rolled_back_alone(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    macro_rules! write {
        ($connection:expr, $attempt:literal) => {
            sqlx::query(concat!("INSERT INTO effects (event_id, attempt) VALUES ('id', ", $attempt, ")"))
                .execute($connection)
                .await?
        };
    }
    macro_rules! write_with_savepoints {
        ($connection:expr) => {{
            write!(&mut *$connection, 1);
            let mut savepoint = $connection.begin().await?;
            write!(&mut *savepoint, 2);
            savepoint.rollback().await?;
            let mut savepoint = $connection.begin().await?;
            write!(&mut *savepoint, 3);
            savepoint.commit().await?;
            // Dropped without a commit.
            let mut savepoint = $connection.begin().await?;
            write!(&mut *savepoint, 4);
        }};
    }
    let event = deliver_new(&inbox).await;
    let worker = inbox
        .worker(service_fn(async |mut job: Job| {
            if job.is_postgres() {
                write_with_savepoints!(job.postgres().await?);
            } else {
                write_with_savepoints!(job.sqlite().await?);
            }
            Ok::<_, BoxError>(())
        }))
        .start();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [1, 3]);
    worker.shutdown(WAIT).await;
}

async fn transaction_of_other_database_is_an_error(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = deliver_new(&inbox).await;
    let worker = inbox
        .worker(service_fn(async |mut job: Job| {
            if job.is_postgres() {
                job.sqlite().await?;
            } else {
                job.postgres().await?;
            }
            Ok::<_, BoxError>(())
        }))
        .with_max_attempts(1)
        .start();
    let error = wait_for(&inbox, &event, InboxState::Dead).await.error.unwrap();
    assert!(error.contains("`Job::postgres` for PostgreSQL and `Job::sqlite` for SQLite"), "{error}");
    worker.shutdown(WAIT).await;
}

/// Two processes take the same events at the same time. Each event is handled once.
async fn workers_share_events(database: TestDatabase) {
    let count = if database.is_sqlite() { 500 } else { 1_000 };
    let inboxes =
        [Inbox::connect(&database.url).await.unwrap(), Inbox::connect(&database.url).await.unwrap()];
    database.create_effects().await;
    let mut deliveries = tokio::task::JoinSet::new();
    for sender in 0..50 {
        let inbox = inboxes[sender % 2].clone();
        deliveries.spawn(async move {
            for _ in 0..count / 50 {
                deliver_new(&inbox).await;
            }
        });
    }
    deliveries.join_all().await;

    let start = Arc::new(Barrier::new(2));
    let workers = inboxes.each_ref().map(|inbox| {
        let start = Arc::clone(&start);
        let handle = move |mut job: Job| {
            let start = Arc::clone(&start);
            async move {
                // The first call of each worker waits for the other worker.
                if tokio::time::timeout(WAIT, start.wait()).await.is_err() {
                    return Err("the other worker has no event".into());
                }
                write_effect(&mut job).await
            }
        };
        inbox.worker(service_fn(handle)).with_concurrency(8).with_poll_interval(POLL).start()
    });
    let begin = std::time::Instant::now();
    // On a busy machine, a list can fail because the SQLite file is locked.
    while !inboxes[0].list(InboxState::Done, 10_000).await.is_ok_and(|done| done.len() >= count) {
        assert!(begin.elapsed() < WAIT * 2, "not all events are done");
        tokio::time::sleep(POLL * 10).await;
    }
    for worker in workers {
        worker.shutdown(WAIT).await;
    }
    let count = i64::try_from(count).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM effects").await, count);
    assert_eq!(database.number("SELECT count(DISTINCT event_id) FROM effects").await, count);
    assert_eq!(database.number("SELECT max(attempt) FROM roomz_inbox").await, 1);
}

async fn job_of_all_types_receives_unknown_type(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = TestEvent::busy().with_type("workspace.booked").without("data").with("floor", "3");
    assert_eq!(deliver(&inbox, &event).await, 202);
    let seen = Arc::new(std::sync::Mutex::new(None));
    let by_handler = Arc::clone(&seen);
    let worker = inbox
        .worker(service_fn(move |job: Job| {
            let is_unknown = matches!(job.event().data, EventData::Unknown(_));
            let text = format!("{} {} {}", job.event().event_type, job.namespace(), job.attempt());
            *by_handler.lock().unwrap() = Some((is_unknown, text, job.body().to_vec(), job.received()));
            std::future::ready(Ok::<_, BoxError>(()))
        }))
        .start();
    let done = wait_for(&inbox, &event, InboxState::Done).await;
    let seen = seen.lock().unwrap().take().unwrap();
    assert_eq!(seen, (true, "workspace.booked roomz 1".to_owned(), event.body(), done.received));
    worker.shutdown(WAIT).await;
}

async fn handler_without_transaction_completes(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let handled = Arc::new(Notify::new());
    let notify = Arc::clone(&handled);
    // The worker is started first, and the inbox wakes it.
    let worker = inbox
        .worker(service_fn(move |job: Job| {
            drop(job);
            notify.notify_one();
            std::future::ready(Ok::<_, BoxError>(()))
        }))
        .with_poll_interval(WAIT * 60)
        .start();
    for _ in 0..20 {
        let event = deliver_new(&inbox).await;
        tokio::time::timeout(WAIT, handled.notified()).await.expect("the worker was not woken");
        wait_for(&inbox, &event, InboxState::Done).await;
    }
    worker.shutdown(WAIT).await;
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn job_of_unit_test_has_no_database() {
    let event = roomz_webhook::Event::parse(&TestEvent::busy().body()).unwrap();
    let mut job = Job::<EventData>::for_test(event);
    let state = (job.attempt(), job.namespace(), job.body().len(), job.traceparent());
    assert_eq!(state, (1, "roomz", 0, None));
    let text = format!("{job:?}");
    assert!(text.contains("body: [0 bytes]") && text.contains("attempt: 1"), "{text}");
    let errors = [job.postgres().await.err(), job.sqlite().await.err()];
    for error in errors.into_iter().flatten() {
        assert_eq!(error.kind(), roomz_inbox::InboxErrorKind::NoDatabase);
        assert!(error.to_string().contains("`Job::for_test` has no database"), "{error}");
    }
}
