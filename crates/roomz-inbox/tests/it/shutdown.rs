//! What a worker does with its events when it stops.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Calls, POLL, TestDatabase, WAIT, deliver_new, entry, gated_worker, on_both, wait_for, write_effect,
};
use roomz_inbox::{BoxError, Inbox, InboxState, Job, Worker, WorkspacePresenceChanged};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::Notify;
use tower::service_fn;

on_both! {
    shutdown_takes_no_more_and_waits
    shutdown_drops_handlers_after_its_timeout
    dropped_worker_gives_its_event_back
    idle_worker_shuts_down
}

async fn shutdown_takes_no_more_and_waits(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_poll_interval(POLL).start();
    let call = calls.next().await;
    let shutdown = begin_shutdown(worker).await;
    let later = deliver_new(&inbox).await;
    call.succeed();
    shutdown.await;
    assert_eq!(entry(&inbox, &event).await.state, InboxState::Done);
    assert_eq!(database.effects().await, [1]);
    let later = entry(&inbox, &later).await;
    assert_eq!((later.state, later.attempts), (InboxState::Waiting, 0));
    assert!(calls.is_empty());
}

/// The first poll of the shutdown stops the worker.
async fn begin_shutdown(worker: Worker) -> Pin<Box<impl Future<Output = ()>>> {
    let mut shutdown = Box::pin(worker.shutdown(WAIT));
    assert!(tokio::time::timeout(Duration::ZERO, &mut shutdown).await.is_err());
    shutdown
}

async fn shutdown_drops_handlers_after_its_timeout(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let (event, written) = (deliver_new(&inbox).await, Arc::new(Notify::new()));
    let notify = Arc::clone(&written);
    let worker = inbox
        .worker(service_fn(move |mut job: Job| {
            let notify = Arc::clone(&notify);
            async move {
                write_effect(&mut job).await?;
                notify.notify_one();
                std::future::pending::<Result<(), BoxError>>().await
            }
        }))
        .start();
    tokio::time::timeout(WAIT, written.notified()).await.expect("the handler did not run");
    worker.shutdown(Duration::ZERO).await;
    let given_back = entry(&inbox, &event).await;
    assert_eq!((given_back.state, given_back.attempts), (InboxState::Waiting, 1));
    assert_eq!(database.effects().await, [0_i64; 0]);

    // It is available at once.
    let (worker, mut calls) = gated_worker(&inbox);
    let call = calls.next().await;
    assert_eq!(call.attempt, 2);
    call.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

async fn dropped_worker_gives_its_event_back(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    let call = calls.next().await;
    drop(worker);
    call.dropped().await;
    assert_eq!(wait_for(&inbox, &event, InboxState::Waiting).await.attempts, 1);
}

async fn idle_worker_shuts_down(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    for _ in 0..10 {
        let worker = inbox.worker::<_, WorkspacePresenceChanged>(Calls::new().0);
        let worker = worker.with_poll_interval(WAIT * 60).start();
        tokio::time::timeout(WAIT, worker.shutdown(WAIT * 2)).await.expect("the shutdown hangs");
    }
}

/// The shutdown begins while the worker takes an event: its handler does not run, and the attempt does not
/// count.
#[tokio::test(flavor = "multi_thread")]
async fn event_that_was_not_started_is_given_back() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = deliver_new(&inbox).await;
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute("LOCK TABLE roomz_inbox IN EXCLUSIVE MODE").await.unwrap();
    let (service, calls) = Calls::new();
    let worker = inbox.worker(service).with_poll_interval(WAIT * 60).start();
    // Statements that wait for this table. The worker's statistics do not.
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = CAST('roomz_inbox' AS regclass)";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *lock).await.unwrap() == 0 {
        tokio::time::sleep(POLL).await;
    }
    let shutdown = begin_shutdown(worker).await;
    lock.rollback().await.unwrap();
    shutdown.await;
    let given_back = entry(&inbox, &event).await;
    assert_eq!((given_back.state, given_back.attempts), (InboxState::Waiting, 0));
    assert!(calls.is_empty());
}
