//! How attempts end: errors, panics, timeouts, crashes, and their backoff and limits.

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Calls, POLL, TestDatabase, WAIT, deliver_new, entry, gated_worker, on_both, wait_for, write_effect,
};
use roomz_inbox::{BoxError, Inbox, InboxState, Job};
use tokio::sync::Notify;
use tower::service_fn;

on_both! {
    error_rolls_back_and_is_retried_after_backoff
    panic_rolls_back_and_is_retried
    timeout_drops_handler_and_is_retried
    last_attempt_makes_dead_letter
    old_event_is_not_retried
    crash_at_every_attempt_makes_dead_letter
    crash_counts_as_attempt
    job_that_outlives_its_handler_is_not_completed
    error_text_is_bounded_and_escaped
    lease_of_long_handler_is_renewed
    transaction_may_stay_open_for_longer_than_lease
}

async fn error_rolls_back_and_is_retried_after_backoff(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_backoff(WAIT * 60, WAIT * 60).with_poll_interval(POLL).start();
    calls.next().await.fail("the lamp is broken");
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert_eq!((failed.attempts, failed.error.as_deref()), (1, Some("the lamp is broken")));
    let pause = failed.due.duration_since(failed.received).as_secs();
    assert!((60 * 30..=60 * 60 + 60).contains(&pause), "{pause}");
    assert_eq!(database.effects().await, [0_i64; 0]);
    worker.shutdown(WAIT).await;

    // After a restart, an event that is due runs, and this one does not.
    let restarted = Inbox::connect(&database.url).await.unwrap();
    let (worker, mut calls) = gated_worker(&restarted);
    let due = deliver_new(&restarted).await;
    let call = calls.next().await;
    assert_eq!(call.id, entry(&inbox, &due).await.key.id());
    call.skip();
    wait_for(&inbox, &due, InboxState::Done).await;
    assert_eq!(entry(&inbox, &event).await.due, failed.due);

    database.make_due().await;
    let call = calls.next().await;
    assert_eq!(call.attempt, 2);
    call.succeed();
    let done = wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!((done.attempts, done.error), (2, None));
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

async fn panic_rolls_back_and_is_retried(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.panic("no \u{1b}[31mdesk");
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert_eq!(failed.error.unwrap(), "the handler panicked: no \\u{1b}[31mdesk");
    assert_eq!(database.effects().await, [0_i64; 0]);
    database.make_due().await;
    calls.next().await.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

async fn timeout_drops_handler_and_is_retried(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let timeout = Duration::from_millis(200);
    let worker = inbox.worker(service).with_handler_timeout(timeout).with_poll_interval(POLL).start();
    calls.next().await.dropped().await;
    let failed = wait_for(&inbox, &event, InboxState::Waiting).await;
    assert_eq!(failed.error.unwrap(), "the handler did not end within 200ms");
    worker.shutdown(WAIT).await;

    // The transaction of a handler that is dropped is rolled back, also in the middle of a statement.
    let worker = inbox
        .worker(service_fn(async |mut job: Job| {
            write_effect(&mut job).await?;
            std::future::pending::<Result<(), BoxError>>().await
        }))
        .with_handler_timeout(timeout)
        .with_max_attempts(2)
        .start();
    database.make_due().await;
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    assert_eq!(dead.attempts, 2);
    assert_eq!(database.effects().await, [0_i64; 0]);
    worker.shutdown(WAIT).await;
}

async fn last_attempt_makes_dead_letter(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_max_attempts(3).with_poll_interval(POLL).start();
    for attempt in 1..=3 {
        let call = calls.next().await;
        assert_eq!(call.attempt, attempt);
        call.fail("broken");
        let state = if attempt < 3 { InboxState::Waiting } else { InboxState::Dead };
        assert_eq!(wait_for(&inbox, &event, state).await.attempts, attempt);
        database.make_due().await;
    }
    deliver_new(&inbox).await;
    assert_eq!(calls.next().await.attempt, 1, "the dead letter runs again");
    assert_eq!(database.effects().await, [0_i64; 0]);
    worker.shutdown(Duration::ZERO).await;
}

/// An old event has one attempt.
async fn old_event_is_not_retried(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    database.execute("UPDATE roomz_inbox SET received = 0").await;
    let (worker, mut calls) = gated_worker(&inbox);
    calls.next().await.fail("broken");
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    assert_eq!(dead.attempts, 1);

    // A person who retries it wants all attempts.
    assert!(inbox.retry(&dead.key).await.unwrap());
    calls.next().await.fail("broken");
    assert_eq!(wait_for(&inbox, &event, InboxState::Waiting).await.attempts, 2);
    worker.shutdown(WAIT).await;
}

/// Takes an event and dies before the attempt ends, without giving anything back.
async fn crash(database: &TestDatabase) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = database.url.clone();
    let task = runtime.spawn(async move {
        let inbox = Inbox::connect(url).await.unwrap();
        let (service, mut calls) = Calls::new();
        let worker = inbox.worker(service).with_max_attempts(3).with_poll_interval(POLL).start();
        let call = calls.next().await;
        (worker, call)
    });
    let (worker, call) = task.await.unwrap();
    runtime.shutdown_background();
    call.dropped().await;
    std::mem::forget(worker);
    // The lease ends.
    database.make_due().await;
}

/// The limit is exact: the handler runs three times, and no fourth time.
async fn crash_at_every_attempt_makes_dead_letter(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    for attempt in 1..=3 {
        crash(&database).await;
        let entry = entry(&inbox, &event).await;
        assert_eq!((entry.state, entry.attempts), (InboxState::Running, attempt));
    }
    let (service, mut calls) = Calls::new();
    let worker = inbox.worker(service).with_max_attempts(3).with_poll_interval(POLL).start();
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    let error =
        "the last attempt did not end: its process died, or it lost its lease. Last error: none was recorded";
    assert_eq!((dead.attempts, dead.error.as_deref()), (3, Some(error)));
    assert!(calls.is_empty());

    // It has all attempts again.
    assert!(inbox.retry(&dead.key).await.unwrap());
    let call = calls.next().await;
    assert_eq!(call.attempt, 4);
    call.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [4]);
    worker.shutdown(WAIT).await;
}

async fn crash_counts_as_attempt(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    crash(&database).await;
    let (worker, mut calls) = gated_worker(&inbox);
    let call = calls.next().await;
    assert_eq!(call.attempt, 2);
    call.succeed();
    wait_for(&inbox, &event, InboxState::Done).await;
    assert_eq!(database.effects().await, [2]);
    worker.shutdown(WAIT).await;
}

async fn job_that_outlives_its_handler_is_not_completed(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (go_on, written) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let of_handler = (Arc::clone(&go_on), Arc::clone(&written));
    let worker = inbox
        .worker(service_fn(move |mut job: Job| {
            let (go_on, written) = of_handler.clone();
            tokio::spawn(async move {
                go_on.notified().await;
                write_effect(&mut job).await.unwrap();
                drop(job);
                written.notify_one();
            });
            std::future::ready(Ok::<_, BoxError>(()))
        }))
        .with_max_attempts(1)
        .start();
    let dead = wait_for(&inbox, &event, InboxState::Dead).await;
    assert!(dead.error.unwrap().contains("a task still has its `Job`"));
    go_on.notify_one();
    tokio::time::timeout(WAIT, written.notified()).await.expect("the task did not end");
    assert_eq!(database.effects().await, [0_i64; 0]);
    assert_eq!(entry(&inbox, &event).await.state, InboxState::Dead);
    worker.shutdown(WAIT).await;
}

async fn error_text_is_bounded_and_escaped(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    let event = deliver_new(&inbox).await;
    let worker = inbox
        .worker(service_fn(async |_: Job| {
            let source = Error::other(format!("\0\u{1b}[2J\u{202e}{}", "\u{7}ä".repeat(10_000)));
            Err::<(), BoxError>(Box::new(Error::new(ErrorKind::Interrupted, source)))
        }))
        .with_max_attempts(1)
        .start();
    let error = wait_for(&inbox, &event, InboxState::Dead).await.error.unwrap();
    assert!(error.starts_with("\\u{0}\\u{1b}[2J\\u{202e}\\u{7}ä"), "{error}");
    assert!(error.chars().count() <= 1_000 && !error.contains(char::is_control), "{error}");
    worker.shutdown(WAIT).await;

    // The same for a panic, with the text of the worker.
    let worker = inbox
        .worker(service_fn(async |_: Job| {
            if true {
                std::panic::panic_any("\u{7}".repeat(10_000));
            }
            Ok::<_, BoxError>(())
        }))
        .with_max_attempts(1)
        .start();
    assert!(inbox.retry(&crate::support::key(&event)).await.unwrap());
    let error = wait_for(&inbox, &event, InboxState::Dead).await.error.unwrap();
    assert!(error.starts_with("the handler panicked: \\u{7}") && error.chars().count() <= 1_000, "{error}");
    worker.shutdown(WAIT).await;
}

async fn lease_of_long_handler_is_renewed(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let (service, mut calls) = Calls::new();
    // The renewals need far less than a lease on a busy machine.
    let lease = Duration::from_secs(2);
    let worker = inbox.worker(service).with_concurrency(1).with_lease(lease).start();
    let call = calls.next().await;
    let first = entry(&inbox, &event).await;
    let other = Inbox::connect(&database.url).await.unwrap();
    let (other_worker, other_calls) = gated_worker(&other);
    // When the lease ends after more than twice its time, renewals kept it.
    while entry(&inbox, &event).await.due.duration_since(first.due) < lease.try_into().unwrap() {
        tokio::time::sleep(POLL).await;
    }
    assert!(other_calls.is_empty());
    call.succeed();
    assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 1);
    assert_eq!(database.effects().await, [1]);
    worker.shutdown(WAIT).await;
    other_worker.shutdown(WAIT).await;
}

/// On SQLite, the renewals wait for the transaction of the handler. Then nobody else can take the event.
async fn transaction_may_stay_open_for_longer_than_lease(database: TestDatabase) {
    let inbox = Inbox::connect(&database.url).await.unwrap();
    database.create_effects().await;
    let event = deliver_new(&inbox).await;
    let lease = Duration::from_secs(1);
    let worker = inbox
        .worker(service_fn(move |mut job: Job| async move {
            write_effect(&mut job).await?;
            // Real time, because the lease is measured by the database.
            tokio::time::sleep(lease * 3).await;
            Ok::<_, BoxError>(())
        }))
        .with_lease(lease)
        .with_poll_interval(POLL)
        .start();
    assert_eq!(wait_for(&inbox, &event, InboxState::Done).await.attempts, 1);
    assert_eq!(database.effects().await, [1]);
    worker.shutdown(WAIT).await;
}
